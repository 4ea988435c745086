OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
defcal x $0 {
  play(drive, pulse);
}
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
x q[0];
c = measure q;
