OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
input float theta;
const float half = theta / 2;
rx(half) q[0];
