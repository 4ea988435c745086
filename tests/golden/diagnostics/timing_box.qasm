OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
box[100ns] {
  x q[0];
}
