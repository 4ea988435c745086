"""Ports for servers that are started a moment later."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from qmesh_kit import ports


def test_a_port_is_none_that_a_connection_may_take() -> None:
    """It is free, and below those that Linux gives to connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = {ports.free_port() for _ in range(20)}
    assert max(found) < first
    assert all(ports.is_free(port) for port in found)
    assert len(found) > 10  # two who choose at once get different ones


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all are taken that is an error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        assert not ports.is_free(port)
        monkeypatch.setattr(ports, "_BELOW_EPHEMERAL", range(port, port + 1))
        with pytest.raises(OSError, match="no free port"):
            ports.free_port()
