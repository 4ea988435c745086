OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
input float theta;
x q[theta];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
const int which = 1;
x q[which];
c = measure q;
