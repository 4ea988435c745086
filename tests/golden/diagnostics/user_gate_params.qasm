OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate turn(theta) a { rz(theta) a; }
turn q[0];
