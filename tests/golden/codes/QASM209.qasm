OPENQASM 3.0;
OPENQASM 2.0;
qubit q;
// mended:
OPENQASM 3.0;
qubit q;
bit c;
c = measure q;
