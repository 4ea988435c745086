OPENQASM 3.0;
include "stdgates.inc";
qubit q;
for int i0 in [0:99] for int i1 in [0:99] for int i2 in [0:99] for int i3 in [0:99] for int i4 in [0:99] for int i5 in [0:99] for int i6 in [0:99] for int i7 in [0:99] x q;
