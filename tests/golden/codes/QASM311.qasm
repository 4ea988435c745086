OPENQASM 3.0;
include "stdgates.inc";
qubit q;
output bit c;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit q;
bit c;
c = measure q;
