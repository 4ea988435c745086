"""Partitions circuits over the nodes that live."""
