OPENQASM 3.0;
pragma optimise
qubit q;
