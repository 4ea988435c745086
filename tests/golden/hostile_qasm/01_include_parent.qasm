OPENQASM 3.0;
include "../../../../etc/shadow";
qubit q;
