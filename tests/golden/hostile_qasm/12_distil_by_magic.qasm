OPENQASM 3.0;
include "stdgates.inc";
qubit q;
distillation(magic) q;
