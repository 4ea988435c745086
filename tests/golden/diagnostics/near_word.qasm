OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
bel_pair q[0], q[1];
