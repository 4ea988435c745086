OPENQASM 3.0;
include "stdgates.inc";
pragma fast
qubit q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit q;
bit c;
c = measure q;
