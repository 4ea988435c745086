// Grover's search over two circuit qubits in two modules, each CZ teleported over a pair of their network qubits: 11 is read
// always, m are fair coins. Reference: Main et al., Nature 638 (2025) 383; Eisert et al., PRA 62 (2000) 052317.
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] circuit;
qubit[2] network;
bit[4] m;
bit[2] c;
h circuit;
bell_pair network[0], network[1];
h network[0];
cz circuit[0], network[0];
h network[0];
m[0] = measure network[0];
if (m[0]) { x network[1]; }
cz network[1], circuit[1];
h network[1];
m[1] = measure network[1];
if (m[1]) { z circuit[0]; }
h circuit;
x circuit;
reset network;
bell_pair network[0], network[1];
h network[0];
cz circuit[0], network[0];
h network[0];
m[2] = measure network[0];
if (m[2]) { x network[1]; }
cz network[1], circuit[1];
h network[1];
m[3] = measure network[1];
if (m[3]) { z circuit[0]; }
x circuit;
h circuit;
c = measure circuit;
