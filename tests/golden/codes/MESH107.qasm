OPENQASM 3.0;
include "stdgates.inc";
gate g0(a) z { rx(a + a) z; }
gate g1(a) z { g0(a + a) z; }
gate g2(a) z { g1(a + a) z; }
gate g3(a) z { g2(a + a) z; }
gate g4(a) z { g3(a + a) z; }
gate g5(a) z { g4(a + a) z; }
gate g6(a) z { g5(a + a) z; }
gate g7(a) z { g6(a + a) z; }
gate g8(a) z { g7(a + a) z; }
input float v;
qubit q;
g8(v) q;
// mended:
OPENQASM 3.0;
include "stdgates.inc";
gate g(a) z { rx(512 * a) z; }
input float v;
qubit q;
bit c;
g(v) q;
c = measure q;
