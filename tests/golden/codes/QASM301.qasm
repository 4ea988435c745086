OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
def flip(qubit a) {
  x a;
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate flip a {
  x a;
}
flip q[0];
c = measure q;
