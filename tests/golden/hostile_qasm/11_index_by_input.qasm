OPENQASM 3.0;
include "stdgates.inc";
input float i;
qubit[2] q;
x q[i];
