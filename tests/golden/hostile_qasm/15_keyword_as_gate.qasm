OPENQASM 3.0;
include "stdgates.inc";
qubit q;
gate if a { x a; }
