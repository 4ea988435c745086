// Teleportation with feed-forward: out is 1 with probability sin^2(0.4) = 0.1516; m0 and m1 are fair coins.
OPENQASM 3.0;
include "stdgates.inc";
qubit[3] q;
bit m0;
bit m1;
bit out;
ry(0.8) q[0];
rz(0.3) q[0];
bell_pair q[1], q[2];
cx q[0], q[1];
h q[0];
m0 = measure q[0];
m1 = measure q[1];
if (m1 == 1) { x q[2]; }
if (m0 == 1) { z q[2]; }
rz(-0.3) q[2];
out = measure q[2];
