OPENQASM 3.0;
include "stdgates.inc";
gate cx a, b { }
qubit q;
