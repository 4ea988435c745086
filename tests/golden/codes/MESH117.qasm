OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
qubit[80] r;
ctrl(70) @ x r[0:70];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
qubit[80] r;
ctrl(3) @ x r[0], r[1], r[2], r[3];
c = measure q;
