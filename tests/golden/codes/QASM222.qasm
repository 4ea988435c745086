OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
opaque magic a;
magic q[0];
// mended:
OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
gate magic a { t a; }
magic q[0];
measure q -> c;
