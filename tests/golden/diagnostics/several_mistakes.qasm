OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
hh q[0];
rx q[0];
cx q[0], q[5];
measure q -> d;
