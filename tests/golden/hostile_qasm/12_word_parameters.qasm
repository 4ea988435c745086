OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
qft(3) q;
