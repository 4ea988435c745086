OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
input float t;
const float u = 2 * t;
