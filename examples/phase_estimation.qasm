// Iterative phase estimation with one ancilla: the phase 13/16 of P(2 pi 13/16) on |1>, least significant bit first: always c = 1101.
// Reference: Griffiths, Niu, PRL 76 (1996) 3228.
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[4] c;
x q[1];
h q[0];
cp(2 * pi * 13 / 2) q[0], q[1];
h q[0];
c[0] = measure q[0];
reset q[0];
h q[0];
cp(2 * pi * 13 / 4) q[0], q[1];
if (c[0]) { p(-pi / 2) q[0]; }
h q[0];
c[1] = measure q[0];
reset q[0];
h q[0];
cp(2 * pi * 13 / 8) q[0], q[1];
if (c[0]) { p(-pi / 4) q[0]; }
if (c[1]) { p(-pi / 2) q[0]; }
h q[0];
c[2] = measure q[0];
reset q[0];
h q[0];
cp(2 * pi * 13 / 16) q[0], q[1];
if (c[0]) { p(-pi / 8) q[0]; }
if (c[1]) { p(-pi / 4) q[0]; }
if (c[2]) { p(-pi / 2) q[0]; }
h q[0];
c[3] = measure q[0];
