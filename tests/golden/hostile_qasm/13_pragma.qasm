OPENQASM 3.0;
include "stdgates.inc";
pragma qmesh skip_checks
qubit q;
