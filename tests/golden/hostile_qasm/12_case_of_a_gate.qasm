OPENQASM 3.0;
include "stdgates.inc";
qubit q;
RX(0.1) q;
