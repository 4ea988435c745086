OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
programable_gate(0.1, 0.2, 0.3) q[0];
