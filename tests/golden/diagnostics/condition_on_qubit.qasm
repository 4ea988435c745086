OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
if (q[0] == 1) x q[1];
