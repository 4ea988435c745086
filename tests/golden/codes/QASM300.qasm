OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
while (c[0]) {
  x q[0];
  c[0] = measure q[0];
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
for int i in [0:2] {
  if (c[0]) x q[0];
  c[0] = measure q[0];
}
