OPENQASM 3.0;
qubit[10**9] q;
