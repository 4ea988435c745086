OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate oracle a, b { cz a, b; }
oracel q[0], q[1];
