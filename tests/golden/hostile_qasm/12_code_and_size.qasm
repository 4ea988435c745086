OPENQASM 3.0;
include "stdgates.inc";
qubit[3] q;
syndrome_extraction(steane) q;
