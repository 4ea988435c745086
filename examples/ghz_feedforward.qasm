// GHZ of five qubits in constant depth: parities of neighbours are measured, corrections fed forward: c = 00000 and 11111, half each.
OPENQASM 3.0;
include "stdgates.inc";
qubit[5] q;
qubit[4] a;
bit[4] m;
bit[5] c;
h q;
for int i in [0:3] { cx q[i], a[i]; cx q[i + 1], a[i]; }
m = measure a;
for int i in [0:3] {
  if (m[i]) {
    for int j in [i + 1:4] { x q[j]; }
  }
}
c = measure q;
