OPENQASM 3.0;
include "my_gates.inc";
qubit q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
gate mine a { h a; t a; }
qubit q;
bit c;
mine q;
c = measure q;
