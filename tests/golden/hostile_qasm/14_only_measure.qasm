OPENQASM 3.0;
measure q -> c;
