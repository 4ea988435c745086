// with: text_bytes=200
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
// a long comment a long comment a long comment a long comment a long comment a long comment a long comment a long comment a long comment a long comment a long comment a long comment 
h q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[0];
c = measure q;
