"""Real servers for tests: context managers over `qmesh_kit.servers`."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qmesh_kit.servers import NatsServer, PostgresServer, ServerCommand

_STOP_TIMEOUT = 10.0


@contextmanager
def _running(command: ServerCommand, log: Path) -> Iterator[None]:
    user = command.user
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.argv,
            env=command.env,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
        )
    try:
        yield
    finally:
        process.send_signal(command.stop_signal)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def postgres_server(directory: Path) -> Iterator[PostgresServer]:
    """A running PostgreSQL."""
    server = PostgresServer(directory / "pg")
    server.prepare()
    with _running(server.command(), directory / f"pg-{os.getpid()}.log"):
        server.wait_ready()
        yield server


@contextmanager
def nats_server(directory: Path) -> Iterator[NatsServer]:
    """A running nats-server; its token is "test-token-of-nats-server"."""
    server = NatsServer(directory / "nats", token="test-token-of-nats-server")  # noqa: S106 - a test's own
    server.prepare()
    with _running(server.command(), directory / f"nats-{os.getpid()}.log"):
        server.wait_ready()
        yield server


def database(server: PostgresServer) -> str:
    """URL of a new, empty database."""
    import psycopg

    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url.replace("/postgres?", f"/{name}?")
