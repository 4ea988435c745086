OPENQASM 3.0;
qubit the_first_qubit_of_the_first_pair_of_qubits_in_the_first_experiment_of_all;
// mended:
OPENQASM 3.0;
qubit first;
bit c;
c = measure first;
