OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bell_pair q[0];
