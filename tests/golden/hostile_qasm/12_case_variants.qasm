OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
Bell_Pair q[0], q[1];
CNOT q[0], q[1];
TELEPORT q[0], q[1];
Hadamard q[0];
QfT q;
