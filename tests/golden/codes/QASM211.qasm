OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
bit c;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
bit d;
d = measure q[0];
