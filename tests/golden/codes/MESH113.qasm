OPENQASM 3.0;
qubit[3] q;
syndrome_extraction(steane) q;
// mended:
OPENQASM 3.0;
qubit[3] q;
bit[2] s;
bit[3] c;
syndrome_extraction(repetition) q -> s;
c = measure q;
