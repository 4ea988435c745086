"""Quantum insight by Qiskit in worker processes."""
