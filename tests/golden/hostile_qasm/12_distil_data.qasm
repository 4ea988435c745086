OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
distillation q[0], q[1];
