OPENQASM 3.0;
include "01_include_itself.qasm";
qubit q;
