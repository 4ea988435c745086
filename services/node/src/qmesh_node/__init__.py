"""Quantum service node."""
