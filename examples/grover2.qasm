// Grover's search over two qubits, 11 marked: two CZ gates, and 11 is read always. On
// examples/topologies/two_ion_modules.toml each CZ joins two modules. Reference: Grover, PRL 79 (1997) 325.
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q;
cz q[0], q[1];
h q;
x q;
cz q[0], q[1];
x q;
h q;
c = measure q;
