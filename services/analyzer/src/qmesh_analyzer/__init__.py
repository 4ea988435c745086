"""Quantum insight: what a circuit means, and how far its execution was from it.

The only service that imports Qiskit. It never sees user text: it gets normal forms that the mesh's own parser made.
"""

__version__ = "0.1.0"
