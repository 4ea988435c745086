OPENQASM 3.0;
include "stdgates.inc";
h q[0];
qubit[2] q;
