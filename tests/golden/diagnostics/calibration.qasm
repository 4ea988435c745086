OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
defcal x $0 {
  play(drive, pulse);
}
x q[0];
