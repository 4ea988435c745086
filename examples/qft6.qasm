// QFT of the basis state 13 and back by its inverse: always 001101 (13).
OPENQASM 3.0;
include "stdgates.inc";
qubit[6] q;
bit[6] c;
x q[0];
x q[2];
x q[3];
qft q;
barrier q;
iqft q;
c = measure q;
