// (2 I + i Z) / sqrt(5), which no finite Clifford+T circuit makes exactly, by trying up to three times: an attempt succeeds with 5/9,
// and a failure leaves S, which is undone before the next one. At the end the rotation is taken back: out is 0 after a success.
// Reference: Paetznick, Svore, Quantum Inf. Comput. 14 (2014) 1277.
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[3] failed;
bit[1] out;
const float half = 0.6154797086703874;  // tan(half)^2 = 1/2
h q[0];
ry(2 * half) q[1];
cz q[1], q[0];
s q[1];
ry(-2 * half) q[1];
failed[0] = measure q[1];
if (failed[0]) {
  sdg q[0];
  reset q[1];
  ry(2 * half) q[1];
  cz q[1], q[0];
  s q[1];
  ry(-2 * half) q[1];
  failed[1] = measure q[1];
}
if (failed[1]) {
  sdg q[0];
  reset q[1];
  ry(2 * half) q[1];
  cz q[1], q[0];
  s q[1];
  ry(-2 * half) q[1];
  failed[2] = measure q[1];
}
if (failed[2]) { sdg q[0]; }
rz(0.9272952180016122) q[0];
h q[0];
out[0] = measure q[0];
