OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
qubit[3] r;
cx q, r;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
qubit[3] r;
cx q, r[0:1];
c = measure q;
