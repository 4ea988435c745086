"""Python SDK and qmesh command line."""
