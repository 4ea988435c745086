OPENQASM 3.0;
qubit q;
bit[20000] c;
// mended:
OPENQASM 3.0;
qubit q;
bit[1] c;
c[0] = measure q;
