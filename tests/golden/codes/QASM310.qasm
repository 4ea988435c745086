OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
int n = 3;
rx(n) q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
const int n = 3;
rx(n) q[0];
c = measure q;
