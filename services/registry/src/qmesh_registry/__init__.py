"""Registry: discovery, enrollment, and versioned snapshots of the nodes that live."""

__version__ = "0.1.0"
