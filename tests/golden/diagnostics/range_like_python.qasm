OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
for i in range(2) { h q[i]; }
