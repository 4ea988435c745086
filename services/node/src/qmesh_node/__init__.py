"""Quantum service node: holds quantum states, executes blocks over libp2p, advertises what it can do."""

__version__ = "0.1.0"
