OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate g a {
  x a;
  measure a;
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate g a {
  x a;
}
g q[0];
c[0] = measure q[0];
