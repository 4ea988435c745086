OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate g a { cx a, q[0]; }
