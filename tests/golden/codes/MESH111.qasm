OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
distillation(best) q[0];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
distillation(dejmps) q[0];
cx q[0], q[1];
c = measure q;
