OPENQASM 3.0;
include "stdgates.inc";
qubit[2] ancilla;
bit[2] c;
h anclla[0];
