OPENQASM 1e309;
qubit q;
