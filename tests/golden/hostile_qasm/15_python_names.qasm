OPENQASM 3.0;
include "stdgates.inc";
qubit __class__;
qubit __import__;
x __import__;
