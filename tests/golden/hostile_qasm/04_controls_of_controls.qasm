OPENQASM 3.0;
include "stdgates.inc";
qubit[200] q;
ctrl(33) @ ctrl(33) @ x q;
