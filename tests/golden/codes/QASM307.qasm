OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
let both = q[0] ++ q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
let both = q[1] ++ q[0];
h both[0];
c = measure q;
