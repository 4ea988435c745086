OPENQASM 3.0;
qubit q;
bit c;
h q;
c = measure q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit q;
bit c;
h q;
c = measure q;
