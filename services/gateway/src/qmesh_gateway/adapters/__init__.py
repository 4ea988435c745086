"""Borders of the gateway: gRPC clients, live events, authentication, limits."""
