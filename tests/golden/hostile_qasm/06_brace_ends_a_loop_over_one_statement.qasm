OPENQASM 3.0;
include "stdgates.inc";
qubit q;
bit c;
if (c) { for int i in [0:2] if (c == 1)}{ x q; }
x r;
