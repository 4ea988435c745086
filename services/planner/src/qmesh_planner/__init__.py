"""Partitions circuits over the nodes that live."""

__version__ = "0.1.0"
