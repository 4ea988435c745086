OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
measure q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
c[0] = measure q[0];
