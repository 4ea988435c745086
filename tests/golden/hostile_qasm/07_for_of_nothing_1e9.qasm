OPENQASM 3.0;
include "stdgates.inc";
qubit q;
for int i in [0:999999999] { }
