"""Borders: gRPC, libp2p, PostgreSQL."""
