"""Borders of the analyzer: gRPC, worker processes."""
