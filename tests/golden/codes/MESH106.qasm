OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx(31415926535897932384) q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
rx(3.1415926535897932384) q[0];
c = measure q;
