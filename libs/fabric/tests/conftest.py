"""Keys, and processes that end with the test that started them."""

import gc
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity

HERE = Path(__file__).parent
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
ENDS_WITHIN = 10.0
SCENARIO_WITHIN = 40.0


@dataclass
class Victim:
    """A host in a process of its own."""

    process: subprocess.Popen[str]
    peer_id: str
    address: str

    def ends(self, timeout_seconds: float = ENDS_WITHIN) -> bool:
        """Whether the process ends by itself."""
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.communicate()


def spawn(mode: str, connections: int = 2000) -> subprocess.Popen[str]:
    """Starts a host, `bare` or `guarded`."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "victim.py"), mode, str(connections)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if mode == "bare" else None,
        text=True,
    )


def listening(process: subprocess.Popen[str]) -> Victim:
    """Waits until a host listens."""
    assert process.stdout is not None
    try:
        peer_id, address = json.loads(process.stdout.readline())
    except ValueError:
        process.kill()
        process.communicate()
        raise
    return Victim(process, peer_id, address)


@pytest.fixture
def victim() -> Iterator[Callable[..., Victim]]:
    """Starts hosts in processes of their own."""
    started: list[Victim] = []

    def start(mode: str, connections: int) -> Victim:
        started.append(listening(spawn(mode, connections)))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="module")
def spares() -> Iterator[list[subprocess.Popen[str]]]:
    """The next bare host starts while a test strikes the one before."""
    waiting = [spawn("bare")]
    yield waiting
    for process in waiting:
        process.kill()
        process.communicate()


@pytest.fixture
def bare(spares: list[subprocess.Popen[str]]) -> Iterator[Victim]:
    """The library as it is shipped."""
    one = listening(spares.pop())
    spares.append(spawn("bare"))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Victim]:
    """One guarded host for all strikes of a module: it has to survive them all."""
    one = listening(spawn("guarded"))
    yield one
    assert one.process.poll() is None, "the guarded host died"
    one.stop()


@pytest.fixture
def scenario() -> Callable[[str], tuple[object, object]]:
    """Outcomes of one scenario of scenarios.py, bare and guarded, each in a process of its own."""

    def run(name: str) -> tuple[object, object]:
        processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / "scenarios.py"), name, mode],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for mode in ("bare", "guarded")
        ]
        try:
            said = [process.communicate(timeout=SCENARIO_WITHIN) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        assert [process.returncode for process in processes] == [0, 0], [error[-2000:] for _, error in said]
        return json.loads(said[0][0]), json.loads(said[1][0])

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The library leaves sockets to the collector when a host ends; they are collected in the test that made them."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """The library logs each failed dial as an error; a failing test would drown in them."""
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    gc.freeze()  # what is imported need not be collected after every test


@dataclass
class Pair:
    """Two hosts in one trio loop: one listens, the other dials."""

    server: Host
    client: Host
    server_identity: Identity
    client_identity: Identity

    @property
    def addresses(self) -> list[str]:
        """Where the server listens."""
        return self.server.listen_addrs()


@pytest.fixture
def pair() -> Callable[..., AbstractAsyncContextManager[Pair]]:
    """Opens two hosts; keywords are `open_host`'s, for the server."""

    @asynccontextmanager
    async def opened(*, client_pubsub: Any = None, **named: Any) -> AsyncIterator[Pair]:
        server, client = (Identity(name.ljust(32)) for name in (b"server", b"client"))
        async with (
            open_host(server, [ANYWHERE], **named) as serving,
            open_host(client, [], pubsub=client_pubsub) as dialling,
        ):
            yield Pair(serving, dialling, server, client)

    return opened
