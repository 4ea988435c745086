"""Ports on loopback for servers that are started a moment later."""

from __future__ import annotations

import secrets
import socket

_BELOW_EPHEMERAL = range(20_000, 30_000)
"""Linux takes the source ports of connections from 32768 on (net.ipv4.ip_local_port_range), Kubernetes its node ports from 30000."""
_TRIES = 64


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that no connection takes as its own before a server listens there, and hardly another server.

    Raises:
        OSError: none of many is free.
    """
    for _ in range(_TRIES):
        port = secrets.choice(_BELOW_EPHEMERAL)
        if is_free(port):
            return port
    raise OSError(f"no free port was found from {_BELOW_EPHEMERAL.start} to {_BELOW_EPHEMERAL.stop - 1}")
