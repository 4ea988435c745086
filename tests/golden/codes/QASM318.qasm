OPENQASM 3.0;
include "stdgates.inc";
h $0;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[1] q;
bit[1] c;
h q[0];
c = measure q;
