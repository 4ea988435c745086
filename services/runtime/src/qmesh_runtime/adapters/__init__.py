"""Borders of the runtime: gRPC, PostgreSQL, NATS, libp2p."""
