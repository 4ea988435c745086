OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx(pi/2) q[0];
c = measure q;
