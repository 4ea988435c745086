OPENQASM 3.0;
include "stdgates.inc";
#pragma once
qubit q;
