"""Python SDK and `qmesh` command line."""

__version__ = "0.1.0"
