OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
bit[2] d;
if (c == d) x q[0];
