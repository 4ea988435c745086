OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h qq[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[0];
c = measure q;
