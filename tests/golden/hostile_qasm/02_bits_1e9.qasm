OPENQASM 3.0;
qubit q;
bit[999999999] c;
