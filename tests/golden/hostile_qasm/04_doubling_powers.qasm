OPENQASM 3.0;
include "stdgates.inc";
qubit q;
gate g a { pow(1000) @ pow(1000) @ h a; t a; }
pow(1000000) @ g q;
