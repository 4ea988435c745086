OPENQASM 3.0;
include "stdgates.inc";
qubit[1000] q;
qft q;
