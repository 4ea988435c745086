OPENQASM 3.0;
qubit[3] q;
bit[3] s;
syndrome_extraction q -> s;
// mended:
OPENQASM 3.0;
qubit[3] q;
bit[3] s;
syndrome_extraction q -> s[0:1];
s[2] = measure q[0];
