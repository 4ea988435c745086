OPENQASM 3.0;
bit[2] c;
// mended:
OPENQASM 3.0;
qubit[2] q;
bit[2] c;
c = measure q;
