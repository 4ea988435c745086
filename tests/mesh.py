"""A local mesh of real processes, as tests and benchmarks use it: started, asked, hurt and ended through `qmesh`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import psycopg

from qmesh_client.kube import Cluster, Release, open_tunnel
from qmesh_client.mesh import Mesh, MeshRefusedError, MeshUnreachableError
from qmesh_client.tunnel import Tunnel
from qmesh_kit.servers import PostgresServer

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
QMESH = Path(sys.executable).with_name("qmesh")
_START_TIMEOUT = 120.0


def until[T](condition: Callable[[], T | None], what: str, timeout: float = 30.0, pause: float = 0.05) -> T:
    """The first value of `condition` that is true; AssertionError with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(pause)
    return value


class AnyMesh(Protocol):
    """A mesh of whatever kind, for tests that only use it.

    Attributes:
        home: a folder for what a test writes.
    """

    home: Path

    @property
    def url(self) -> str:
        """Address of the gateway."""

    def headers(self) -> dict[str, str]:
        """What a request of a client that is not ours needs."""

    def client(self) -> Mesh:
        """A client of the mesh."""

    def qmesh(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs the command line."""

    def run(self, file: str, **options: Any) -> dict[str, Any]:
        """Submits an example and waits for its end; the whole job document."""


@dataclass(slots=True)
class LocalMesh:
    """One mesh; `port` is the gateway's, `settings` are variables that its processes get."""

    home: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    def headers(self) -> dict[str, str]:
        """None: a local mesh asks for no key."""
        return {}

    def environment(self) -> dict[str, str]:
        """The environment of a user of this mesh."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QMESH_")}
        own = {"QMESH_HOME": str(self.home), "QMESH_GATEWAY__PORT": str(self.port), "NO_COLOR": "1"}
        return kept | own | dict(self.settings)

    def qmesh(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs the command line."""
        return subprocess.run(
            [str(QMESH), *arguments],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def up(self, *arguments: str) -> None:
        """Starts the mesh and waits until it is ready and every node is enrolled and fresh."""
        done = self.qmesh("up", "--detach", *arguments, timeout=_START_TIMEOUT)
        assert done.returncode == 0, done.stderr
        nodes = [p for p in self.processes() if p not in _COORDINATOR]
        with self.client() as client:
            until(
                lambda: len({s["node_id"] for s in client.services()["services"]}) == len(nodes),
                "every node advertises its services",
            )

    def down(self) -> None:
        """Ends the mesh."""
        done = self.qmesh("down")
        assert done.returncode == 0, done.stderr

    def client(self) -> Mesh:
        """A client of the mesh."""
        return Mesh(self.url, timeout=60.0)

    def status(self) -> dict[str, Any]:
        """The document of `qmesh status --json`."""
        done = self.qmesh("status", "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def processes(self) -> dict[str, dict[str, Any]]:
        """Processes by name."""
        return {process["name"]: process for process in self.status()["processes"]}

    def nodes(self) -> list[str]:
        """Names of the nodes."""
        return [name for name in self.processes() if name not in _COORDINATOR]

    def kill(self, name: str) -> int:
        """`kill -9` of one process; its old pid."""
        pid = int(self.processes()[name]["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def ready_again(self, name: str, old_pid: int) -> None:
        """Waits until the supervisor has replaced a process."""

        def replaced() -> bool:
            process = self.processes()[name]
            return process["state"] == "running" and process["pid"] not in {None, old_pid}

        until(replaced, f"{name} is running again", timeout=60)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the mesh's own database, read as its superuser."""
        with psycopg.connect(PostgresServer(self.home / "pg").url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def run(self, file: str, **options: Any) -> dict[str, Any]:
        """Submits an example and waits for its end; the whole job document."""
        return _run(self, file, options)


@dataclass(slots=True)
class ReleaseMesh:
    """A release in a cluster, reached as `qmesh --kube RELEASE` reaches it: through a tunnel, with the key of its Secret."""

    home: Path
    release: str
    tunnel: Tunnel
    key: str

    @property
    def url(self) -> str:
        """The near end of the tunnel."""
        return self.tunnel.url

    def headers(self) -> dict[str, str]:
        """The key."""
        return {"authorization": f"Bearer {self.key}"}

    def client(self) -> Mesh:
        """A client of the mesh."""
        return self.tunnel.mesh(60.0)

    def qmesh(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs the command line."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QMESH_")}
        return subprocess.run(
            [str(QMESH), "--kube", self.release, *arguments],
            env=kept | {"QMESH_HOME": str(self.home), "NO_COLOR": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def run(self, file: str, **options: Any) -> dict[str, Any]:
        """Submits an example and waits for its end; the whole job document."""
        return _run(self, file, options)


@contextmanager
def release_mesh(release: str, home: Path) -> Iterator[ReleaseMesh]:
    """The mesh of a release, like `context/namespace/release`.

    Raises:
        KubeError: there is none that can be used.
    """
    found = Release.parse(release)
    with open_tunnel(found) as tunnel:
        cluster = Cluster(found.context)
        key = cluster.key(cluster.pod(cluster.gateway(found)))
        assert key is not None, f"{release} asks for no key"
        yield ReleaseMesh(home, release, tunnel, key)


def patiently(mesh: AnyMesh, text: str, key: str, patience: float = 180.0, **options: Any) -> dict[str, Any]:
    """One job to its end, submitted once under its idempotency key whatever happens to the gateway.

    Raises:
        MeshUnreachableError, MeshRefusedError, TimeoutError: what still happened after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            with mesh.client() as client:
                job = client.submit(text, idempotency_key=key, **options)
                return client.wait(job["job_id"], timeout=max(1.0, deadline - time.monotonic()))
        except (MeshUnreachableError, MeshRefusedError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _run(mesh: AnyMesh, file: str, options: dict[str, Any]) -> dict[str, Any]:
    with mesh.client() as client:
        job = client.submit((EXAMPLES / file).read_text(), **options)
        return client.wait(job["job_id"], timeout=120)


_COORDINATOR = {
    "supervisor",
    "postgres",
    "nats-server",
    "gateway",
    "planner",
    "registry",
    "reservation",
    "runtime",
    "analyzer",
}


@contextmanager
def local_mesh(
    home: Path, port: int, *arguments: str, settings: Mapping[str, str] | None = None
) -> Iterator[LocalMesh]:
    """A running mesh, ended afterwards; what its processes said is printed when the test fails."""
    mesh = LocalMesh(home, port, settings or {})
    try:
        mesh.up(*arguments)
        yield mesh
    except BaseException:
        for log in sorted((home / "logs").glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-12:]
            sys.stderr.write(f"--- {log.name}\n" + "\n".join(tail) + "\n")
        raise
    finally:
        mesh.qmesh("down")
        until(lambda: not leftovers(home), "every process of the mesh is gone", 20)


def leftovers(home: Path) -> list[str]:
    """Processes that still carry this home in their environment."""
    found = []
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.environ().get("QMESH_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
