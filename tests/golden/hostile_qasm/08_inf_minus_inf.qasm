OPENQASM 3.0;
include "stdgates.inc";
qubit q;
rx(1e308*10 - 1e308*10) q;
