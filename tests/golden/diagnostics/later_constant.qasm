OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx(alpha) q[0];
const float alpha = 0.3;
