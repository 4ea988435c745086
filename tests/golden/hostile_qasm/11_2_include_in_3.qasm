OPENQASM 3.0;
include "qelib1.inc";
qubit q;
