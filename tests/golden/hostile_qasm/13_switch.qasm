OPENQASM 3.0;
include "stdgates.inc";
qubit q;
bit c;
switch (c) { case 0 { x q; } }
