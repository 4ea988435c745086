OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
h q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q;
c = measure q;
