OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h r;
cx q[0];
rx(1/0) q[0];
