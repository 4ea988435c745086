OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
delay[100dt] q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
delay[100ns] q[0];
c = measure q;
