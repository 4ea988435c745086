OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
let a = q[0:1];
cx q[1], a[-1];
