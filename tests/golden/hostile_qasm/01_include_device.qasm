OPENQASM 3.0;
include "/dev/zero";
qubit q;
