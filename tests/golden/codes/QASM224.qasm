OPENQASM 3.0;
qubit[2] input;
// mended:
OPENQASM 3.0;
qubit[2] data;
bit[2] c;
c = measure data;
