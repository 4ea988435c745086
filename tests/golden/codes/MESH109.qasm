// with: operands=5
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
barrier q;
barrier q;
barrier q;
h q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
barrier q;
h q[0];
c = measure q;
