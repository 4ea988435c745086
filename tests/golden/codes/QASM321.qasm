OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate g a, b { h a; cx a, b; }
pow(0.5) @ g q[0], q[1];
// mended:
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
gate g a, b { h a; cx a, b; }
pow(2) @ g q[0], q[1];
c = measure q;
