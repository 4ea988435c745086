"""A mesh of stand-ins: real PostgreSQL, NATS and supervisor, and small scripts as services and nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qmesh_kit import ports
from qmesh_local.control import ask
from qmesh_local.layout import Layout
from qmesh_local.plan import Endpoints, Ports, ProcessSpec
from qmesh_local.supervisor import Supervisor

READY = """
import json, os, signal, sys, time
path = os.environ["READY"]
with open(path + ".new", "w") as file:
    json.dump({"pid": os.getpid(), "ports": {"grpc": "unix:/nowhere/x.sock"}}, file)
os.replace(path + ".new", path)
signal.sigwait({signal.SIGTERM})
"""


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """The names of this module: test folders are no packages, so tests cannot import them."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """One home for all tests, so that PostgreSQL's data is made once."""
    made = Layout(tmp_path_factory.mktemp("mesh"))
    made.make()
    return made


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return ports.free_port()


def spec(layout: Layout, name: str, script: str = READY) -> ProcessSpec:
    """A process that runs a script."""
    ready = layout.ready_file(name)
    environment = {"READY": str(ready), "PATH": os.environ["PATH"]}
    return ProcessSpec(name, (sys.executable, "-S", "-c", script), environment, ready)


async def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - files and processes have no event
            await asyncio.sleep(0.02)


@dataclass
class Mesh:
    """A running supervisor."""

    layout: Layout
    task: asyncio.Task[None]
    said: list[str] = field(default_factory=list)

    async def ask(self, verb: str, process: str = "") -> dict[str, Any]:
        """One command of the control socket."""
        return await asyncio.to_thread(ask, self.layout, verb, process, 30.0)

    async def process(self, name: str) -> dict[str, Any]:
        """One process of the status."""
        document = (await self.ask("status"))["status"]
        found: dict[str, Any] = next(p for p in document["processes"] if p["name"] == name)
        return found

    async def until(self, name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The process once a condition holds."""
        async with asyncio.timeout(20):
            while not condition(found := await self.process(name)):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.02)
            return found


Start = Callable[..., AbstractAsyncContextManager[Mesh]]


@pytest.fixture
def start(layout: Layout, free_port: int) -> Start:
    """Runs a supervisor over stand-ins until the test is done."""

    @asynccontextmanager
    async def starting(*specs: ProcessSpec) -> AsyncIterator[Mesh]:
        said: list[str] = []

        def processes(_ports: Ports, _endpoints: Endpoints) -> list[ProcessSpec]:
            return list(specs)

        supervisor = Supervisor(layout, processes, free_port, said.append)
        task = asyncio.create_task(supervisor.run())
        mesh = Mesh(layout, task, said)
        try:
            await until(lambda: layout.mesh_file.exists() or task.done())
            if task.done():
                await task
            yield mesh
        finally:
            if not task.done():
                with contextlib.suppress(Exception):
                    await mesh.ask("down")
                async with asyncio.timeout(30):
                    await task

    return starting


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_gone(pids: list[int], seconds: float = 10.0) -> None:
    """Waits for processes to be gone."""
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if alive(pid)]
        time.sleep(0.02)


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def mesh_file(layout: Layout) -> dict[str, Any]:
    """What the mesh says of itself."""
    document: dict[str, Any] = json.loads(layout.mesh_file.read_text())
    return document
