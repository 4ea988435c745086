OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[2];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[1];
c = measure q;
