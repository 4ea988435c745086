"""A real database, a store in memory, adverts and enrollments."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_fabric.identity import Identity
from qmesh_kit.documents import Entry
from qmesh_kit.errors import ServiceError
from qmesh_kit.servers import PostgresServer
from qmesh_kit.settings import PostgresSection
from qmesh_kit.sql import migrate, open_pool
from qmesh_kit.testing import database, postgres_server
from qmesh_registry.__main__ import MIGRATIONS
from qmesh_registry.application import Registry
from qmesh_registry.ports import Enrolled

POOL_TOKEN = "pool-token-of-this-test"  # noqa: S105 - of this test only


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """The functions of this module: test folders are no packages, so tests cannot import them."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests."""
    with postgres_server(Path(tmp_path_factory.mktemp("registry"))) as server:
        yield server


@pytest.fixture
async def pool(postgres: PostgresServer) -> AsyncIterator[AsyncConnectionPool]:
    """A pool on a new database with the registry's schema."""
    settings = PostgresSection.model_validate({"url": database(postgres), "migrate_on_start": True})
    await migrate(settings, "registry", MIGRATIONS)
    async with open_pool(settings, "registry") as opened:
        yield opened


def peer(name: str) -> str:
    """A peer id."""
    return Identity(name.encode().ljust(32)).peer_id


def hello(name: str) -> enroll.EnrollHello:
    """What a peer says of itself."""
    return enroll.EnrollHello(peer_id=peer(name), name=name, capability_summary="4 data qubits: cnot")


def advertisement(name: str, *, epoch: int = 1, counter: int = 1, **named: Any) -> advert.Advertisement:
    """A modest advertisement."""
    message = advert.Advertisement(
        node_id=peer(name),
        name=name,
        epoch=epoch,
        counter=counter,
        issued_at=time.time(),
        readout_fidelity=0.99,
        listen_addrs=[f"/ip4/127.0.0.1/tcp/4001/p2p/{peer(name)}"],
        capacity=advert.Capacity(data_qubits=4),
        **named,
    )
    for service in ("hadamard", "cnot"):
        message.services.add(
            service_type=service,
            fidelity=0.99,
            qubit_min=1,
            qubit_max=2,
            availability=advert.AVAILABILITY_AVAILABLE,
        )
    return message


@dataclass
class Clock:
    """Time that tests turn."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Unix time in seconds."""
        return self.now


@dataclass
class MemoryStore:
    """The store's port without a database; `away` makes it fail."""

    standing: dict[str, Enrolled] = field(default_factory=dict)
    history: list[tuple[str, int, str]] = field(default_factory=list)
    adverts: dict[str, bytes] = field(default_factory=dict)
    snapshots: dict[str, pb.Snapshot] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    boots: int = 0
    away: bool = False

    def _reach(self) -> None:
        if self.away:
            raise ServiceError("UNAVAILABLE", "the database does not answer")

    async def standings(self) -> list[Enrolled]:
        """All enrollments."""
        return list(self.standing.values())

    async def set_standing(self, standing: Enrolled, actor: str, reason: str, summary: str = "") -> None:  # noqa: ARG002 - the port's
        """Keeps it."""
        self._reach()
        self.standing[standing.peer_id] = standing
        self.history.append((standing.peer_id, standing.status, actor))

    async def enrollments(self, peer_id: str) -> list[pb.Enrollment]:
        """What was kept."""
        return [
            pb.Enrollment(peer_id=s.peer_id, tier=s.tier, status=s.status, owner=s.owner)
            for s in self.standing.values()
            if peer_id in {"", s.peer_id}
        ]

    async def save_peers(self, adverts: Mapping[str, bytes], entries: Sequence[Entry] = ()) -> None:
        """Keeps them."""
        self._reach()
        self.adverts.update(adverts)
        self.entries.extend(entries)

    async def peers(self) -> list[tuple[str, bytes, float, float]]:
        """What was kept."""
        return [(peer_id, data, 1.0, 2.0) for peer_id, data in self.adverts.items()]

    async def pin(self, snapshot: pb.Snapshot) -> None:
        """Keeps it."""
        self.snapshots[snapshot.snapshot_id] = snapshot

    async def pinned(self, snapshot_id: str) -> pb.Snapshot | None:
        """What was kept."""
        return self.snapshots.get(snapshot_id)

    async def next_boot(self) -> int:
        """Counts up."""
        self.boots += 1
        return self.boots


def registry(store: Any = None, *, clock: Clock | None = None, unknown: int = 32) -> Registry:
    """A registry with adverts every two seconds."""
    return Registry(
        store if store is not None else MemoryStore(),
        pool_token=POOL_TOKEN,
        advert_period=2.0,
        unknown_peers=unknown,
        clock=clock or Clock(),
    )


async def join(made: Registry, *names: str) -> None:
    """Nodes that are enrolled, connected and have advertised."""
    for name in names:
        await made.decide(hello(name), POOL_TOKEN)
        made.joined(peer(name))
        made.advertised(advertisement(name))
