OPENQASM 3.0;
include "stdgates.inc";
array[int, 1000000000] a;
qubit q;
