OPENQASM 3.0;
qubit[2000] q;
// mended:
OPENQASM 3.0;
qubit[20] q;
bit[20] c;
c = measure q;
