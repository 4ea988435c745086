OPENQASM 3.0;
qubit[0] q;
// mended:
OPENQASM 3.0;
qubit[1] q;
bit[1] c;
c = measure q;
