OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
box {
  x q[0];
  delay[100ns] q[1];
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
barrier q;
x q[0];
delay[100ns] q[1];
barrier q;
c = measure q;
