OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
for float x in {0.1, 0.2} { rx(x) q[0]; }
