OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
extern angle_of(int) -> float;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
const float found = 0.25;
rx(found) q[0];
c = measure q;
