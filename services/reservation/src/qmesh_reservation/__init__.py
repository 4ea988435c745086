"""Capacity of nodes, reserved with a time to live."""
