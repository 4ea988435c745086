OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
c = measure q;
while (c[0]) {
  x q[0];
  c = measure q;
}
h q[1];
