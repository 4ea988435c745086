OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
def f(qubit a) {
  h a;
}
f(q[0]);
