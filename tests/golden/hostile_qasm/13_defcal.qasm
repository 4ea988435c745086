OPENQASM 3.0;
include "stdgates.inc";
qubit q;
defcal x $0 { play(d0, gaussian(1)); }
