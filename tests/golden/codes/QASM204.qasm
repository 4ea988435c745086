qubit[2] q;
bell_pair q[0], q[1];
// mended:
OPENQASM 3.0;
qubit[2] q;
bit[2] c;
bell_pair q[0], q[1];
c = measure q;
