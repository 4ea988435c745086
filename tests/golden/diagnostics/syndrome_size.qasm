OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
syndrome_extraction q[0:1];
