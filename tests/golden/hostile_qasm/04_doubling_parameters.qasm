OPENQASM 3.0;
include "stdgates.inc";
qubit q;
gate g0(a) z { rx(a + a) z; }
gate g1(a) z { g0(a + a) z; }
gate g2(a) z { g1(a + a) z; }
gate g3(a) z { g2(a + a) z; }
gate g4(a) z { g3(a + a) z; }
gate g5(a) z { g4(a + a) z; }
gate g6(a) z { g5(a + a) z; }
gate g7(a) z { g6(a + a) z; }
gate g8(a) z { g7(a + a) z; }
gate g9(a) z { g8(a + a) z; }
gate g10(a) z { g9(a + a) z; }
gate g11(a) z { g10(a + a) z; }
gate g12(a) z { g11(a + a) z; }
gate g13(a) z { g12(a + a) z; }
gate g14(a) z { g13(a + a) z; }
gate g15(a) z { g14(a + a) z; }
gate g16(a) z { g15(a + a) z; }
gate g17(a) z { g16(a + a) z; }
gate g18(a) z { g17(a + a) z; }
gate g19(a) z { g18(a + a) z; }
input float v;
g19(v) q;
