OPENQASM 3.0;
include "stdgates.inc";
qubit q;
gate f a { g a; }
gate g a { f a; }
f q;
