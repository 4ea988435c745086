"""Borders: gRPC, PostgreSQL."""
