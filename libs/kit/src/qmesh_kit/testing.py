"""Real servers for tests: context managers over `qmesh_kit.servers`."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qmesh_kit.launch import command_line
from qmesh_kit.ports import free_port
from qmesh_kit.servers import NatsServer, PostgresServer, ServerCommand

_STOP_TIMEOUT = 10.0
_READY_TIMEOUT = 20.0
_INSTALL_TIMEOUT = 300.0
_ROOT = Path(__file__).resolve().parents[4]
_PINS = _ROOT / "tools" / "document-server.txt"
_DOCUMENT_SERVER = _ROOT / ".tools" / "document-server"


@contextmanager
def _running(command: ServerCommand, log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command_line(command.argv, user=command.user),
            env=command.env,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
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


class NoDocumentServerError(Exception):
    """There is no server of MongoDB's protocol to test with; says why."""


@dataclass(slots=True)
class DocumentServer:
    """A server of MongoDB's protocol that can be taken away and brought back; not MongoDB itself.

    Attributes:
        url: where it is.
    """

    program: Path
    directory: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it over the data that is there.

        Raises:
            NoDocumentServerError: it does not listen in time.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    str(self.program),
                    *(
                        "--data-dir",
                        str(self.directory / "data"),
                        "--host",
                        "127.0.0.1",
                        "-p",
                        str(self.port),
                    ),
                    *("--log-file", str(self.directory / "protocol.log")),
                    *("--pid-file", str(self.directory / "server.pid")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _READY_TIMEOUT
        while True:
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NoDocumentServerError(f"{self.program.name} does not start; see {self.directory}")
            time.sleep(0.05)

    def kill(self) -> None:
        """`kill -9`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_STOP_TIMEOUT)


@contextmanager
def document_server(directory: Path) -> Iterator[DocumentServer]:
    """A running server of MongoDB's protocol.

    Raises:
        NoDocumentServerError: it cannot be installed or started here.
    """
    server = DocumentServer(_installed(), directory, free_port())
    (directory / "data").mkdir(parents=True, exist_ok=True)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _installed() -> Path:
    """The server's program, installed in an environment of its own at its pinned versions."""
    program = _DOCUMENT_SERVER / "bin" / "nx-27017"
    if not _PINS.exists():
        raise NoDocumentServerError(f"this is no checkout: {_PINS.name} is missing")
    _DOCUMENT_SERVER.parent.mkdir(exist_ok=True)
    with _DOCUMENT_SERVER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            shutil.rmtree(_DOCUMENT_SERVER, ignore_errors=True)
            install = [str(_DOCUMENT_SERVER / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            install += ["--disable-pip-version-check", "--require-hashes", "-r", str(_PINS)]
            try:
                for command in ([sys.executable, "-m", "venv", str(_DOCUMENT_SERVER)], install):
                    subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_TIMEOUT)
            except (OSError, subprocess.SubprocessError) as error:
                shutil.rmtree(_DOCUMENT_SERVER, ignore_errors=True)
                said = getattr(error, "stderr", None) or b""
                last = said.decode(errors="replace").strip().splitlines()[-1:]
                raise NoDocumentServerError(
                    f"nx-27017 cannot be installed from {_PINS.name}: {' '.join(last) or error}"
                ) from None
    return program
