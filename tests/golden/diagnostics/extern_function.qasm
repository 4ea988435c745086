OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
extern angle_of(int) -> float;
rx(angle_of(3)) q[0];
