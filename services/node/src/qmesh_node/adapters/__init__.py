"""Borders of the node: libp2p, files, metrics."""
