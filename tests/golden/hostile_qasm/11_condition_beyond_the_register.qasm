OPENQASM 3.0;
include "stdgates.inc";
qubit q;
bit[2] c;
if (c == 99999999999999999999) x q;
