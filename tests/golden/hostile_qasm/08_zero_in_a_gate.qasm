OPENQASM 3.0;
include "stdgates.inc";
qubit q;
gate g(a) z { rx(1/a) z; }
g(0) q;
