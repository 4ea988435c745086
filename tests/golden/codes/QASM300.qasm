OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
c = measure q;
while (c[0]) {
  x q[0];
  c[0] = measure q[0];
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
c = measure q;
for int i in [0:2] {
  if (c[0]) x q[0];
  c[0] = measure q[0];
}
