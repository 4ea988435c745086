OPENQASM 3.0;
include "stdgates.inc";
qubit q;
rx(9**9**9**9) q;
