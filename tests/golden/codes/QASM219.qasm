OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx(1 / (2 - 2)) q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx(1 / (3 - 2)) q[0];
c = measure q;
