OPENQASM 4.0;
qubit q;
// mended:
OPENQASM 3.0;
qubit q;
bit c;
c = measure q;
