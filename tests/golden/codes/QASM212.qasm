OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
hadamrd q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
hadamard q[0];
c = measure q;
