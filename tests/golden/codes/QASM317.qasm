OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
c = measure q;
if (c[0]) {
  bit extra;
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
bit extra;
c = measure q;
if (c[0]) {
  extra = measure q[0];
}
