OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
syndrome_extraction q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
qubit[3] data;
syndrome_extraction data;
c = measure q;
