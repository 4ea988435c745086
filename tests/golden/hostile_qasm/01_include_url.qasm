OPENQASM 3.0;
include "http://169.254.169.254/latest/meta-data/";
qubit q;
