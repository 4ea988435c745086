// Bernstein-Vazirani with the secret 10110101: always 10110101.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[8];
qreg a[1];
creg c[8];
x a[0];
h a[0];
h q;
barrier q;
cx q[0],a[0];
cx q[2],a[0];
cx q[4],a[0];
cx q[5],a[0];
cx q[7],a[0];
barrier q;
h q;
measure q -> c;
