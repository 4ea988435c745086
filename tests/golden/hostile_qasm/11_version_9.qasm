OPENQASM 9.0;
qubit q;
