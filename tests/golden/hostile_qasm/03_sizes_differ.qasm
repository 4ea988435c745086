OPENQASM 3.0;
include "stdgates.inc";
qubit[500] q;
qubit[499] r;
cx q, r;
