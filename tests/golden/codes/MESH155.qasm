// with: annotations=warn
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
@keep
x q[0];
c = measure q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
x q[0];
c = measure q;
