OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
input int n;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
input float theta;
rx(theta) q[0];
c = measure q;
