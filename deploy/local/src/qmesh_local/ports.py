"""Ports on loopback: choosing one, and naming who holds one."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import psutil

from qmesh_kit.ports import free_port


def obstacle(port: int, host: str = "127.0.0.1") -> str | None:
    """Why a port cannot be listened on, for people; None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"is taken by {_owner(port)}"
            return f"cannot be used: {os.strerror(error.errno or 0)}"
    return None


def _owner(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"process {connection.pid} ({' '.join(process.cmdline())[:80] or process.name()})"
    except psutil.Error:
        pass  # other users' processes are not ours to see; the port is taken all the same
    return "another process"


def choose_port(memory: Path) -> int:
    """A free port, the one of the last start where it is still free."""
    if memory.exists():
        last = memory.read_text().strip()
        if last.isascii() and last.isdigit() and 0 < int(last) < 1 << 16 and obstacle(int(last)) is None:
            return int(last)
    port = free_port()
    memory.write_text(str(port))
    return port
