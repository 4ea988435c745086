"""Reservations on a real PostgreSQL: never over-committed, timed by the database, each tenant's own."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg_pool import AsyncConnectionPool

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.reservation.v1 import reservation_pb2 as pb
from qmesh_kit.errors import ServiceError
from qmesh_kit.servers import PostgresServer
from qmesh_kit.settings import PostgresSection
from qmesh_kit.sql import migrate, open_pool
from qmesh_kit.testing import database, postgres_server
from qmesh_reservation.__main__ import MIGRATIONS
from qmesh_reservation.adapters.postgres import PostgresReservations
from qmesh_reservation.application import ReservationService
from qmesh_reservation.domain.tokens import TokenSigner

CAPACITY = 6


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests."""
    with postgres_server(Path(tmp_path_factory.mktemp("reservation"))) as server:
        yield server


@pytest.fixture
async def pool(postgres: PostgresServer) -> AsyncIterator[AsyncConnectionPool]:
    """A pool on a new database with the schema."""
    settings = PostgresSection.model_validate({"url": database(postgres), "migrate_on_start": True})
    await migrate(settings, "reservation", MIGRATIONS)
    async with open_pool(settings, "reservation") as opened:
        yield opened


@pytest.fixture
def service(pool: AsyncConnectionPool) -> ReservationService:
    """The service over that database."""
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ReservationService(PostgresReservations(pool), TokenSigner(key.decode()), 600.0)


def wanted(
    qubits: int, *, nodes: tuple[str, ...] = ("a",), ttl_ms: int = 60_000, wait_ms: int = 1
) -> pb.ReserveRequest:
    """A request of a new job for so many data qubits on each node."""
    request = pb.ReserveRequest(
        caller=caller.Caller(tenant_id="t"), job_id=str(uuid.uuid4()), plan_id=str(uuid.uuid4()), fence=1,
        ttl_ms=ttl_ms, wait_ms=wait_ms,
    )  # fmt: skip
    for node in nodes:
        request.lines.add(node_id=node, data_qubits=qubits, state_bytes=100, executions=1)
        request.capacities.add(node_id=node, data_qubits=CAPACITY, state_bytes=10_000, epoch=1)
    return request


async def used(service: ReservationService) -> dict[str, int]:
    """Reserved data qubits by node."""
    _, usage = await service.live("t", "", "")
    return {item.node_id: item.data_qubits for item in usage}


async def promised(pool: AsyncConnectionPool) -> dict[str, int]:
    """Data qubits of all live reservations by node, from their own rows."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT node_id, sum(data_qubits)::int FROM reservation.reservations WHERE state = 'COMMITTED' GROUP BY 1"
        )
        return {str(row[0]): int(row[1]) for row in await found.fetchall()}


async def test_concurrent_requests_never_overcommit(service: ReservationService) -> None:
    """Of 40 jobs that want two of six qubits at once, three get them; at no time is more promised than there is."""
    answers = await asyncio.gather(
        *(service.reserve(wanted(2, wait_ms=2_000)) for _ in range(40)), return_exceptions=True
    )
    won = [a for a in answers if not isinstance(a, BaseException)]
    lost = [a for a in answers if isinstance(a, ServiceError)]
    assert len(won) == 3
    assert {error.code for error in lost} == {"RESOURCE_EXHAUSTED"}
    assert await used(service) == {"a": 6}


async def test_all_lines_or_none(service: ReservationService) -> None:
    """When one node has no room, nothing is taken of the others."""
    await service.reserve(wanted(6, nodes=("b",)))
    with pytest.raises(ServiceError, match="no room"):
        await service.reserve(wanted(2, nodes=("a", "b")))
    assert await used(service) == {"a": 0, "b": 6}


async def test_waiting_request_gets_what_is_given_back(service: ReservationService) -> None:
    """A request that waits is answered as soon as another job gives its room back."""
    first = wanted(6)
    await service.reserve(first)
    waiting = asyncio.ensure_future(service.reserve(wanted(6, wait_ms=10_000)))
    await asyncio.sleep(0)
    await service.end("t", first.job_id, [], "EXECUTED")
    async with asyncio.timeout(5):
        made = await waiting
    assert made[0].state == pb.RESERVATION_STATE_COMMITTED
    assert made[0].token


async def test_expiry_is_by_the_database_clock(
    service: ReservationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose own clock is an hour ahead ends nothing early, and ends what is past its time."""
    await service.reserve(wanted(6, ttl_ms=1_000))
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)
    await service.sweep()
    assert await used(service) == {"a": 6}
    async with asyncio.timeout(10):
        while await used(service) != {"a": 0}:
            await service.sweep()


async def test_history_has_every_state(service: ReservationService) -> None:
    """Requested, prepared, committed and executed are all in the history, in order."""
    request = wanted(1)
    (made,) = await service.reserve(request)
    await service.end("t", request.job_id, [], "EXECUTED")
    found = await service.get("t", made.reservation_id)
    names = [
        pb.ReservationState.Name(event.state).removeprefix("RESERVATION_STATE_") for event in found.history
    ]
    assert names == ["REQUESTED", "PREPARED", "COMMITTED", "EXECUTED"]


async def test_another_tenant_sees_and_ends_nothing(service: ReservationService) -> None:
    """A foreign reservation is not found, and cannot be ended."""
    request = wanted(1)
    (made,) = await service.reserve(request)
    with pytest.raises(ServiceError) as refused:
        await service.get("other", made.reservation_id)
    assert refused.value.code == "NOT_FOUND"
    assert await service.end("other", request.job_id, [], "CANCELED") == []
    assert await used(service) == {"a": 1}


async def test_more_than_a_node_has_is_rejected_at_once(service: ReservationService) -> None:
    """A line above the capacity of its node is no matter of waiting."""
    with pytest.raises(ServiceError, match="has 6 data qubits, 7 are wanted") as refused:
        await service.reserve(wanted(7, wait_ms=60_000))
    assert refused.value.code == "REJECTED"


async def test_extension_takes_over_for_a_newer_claim(service: ReservationService) -> None:
    """A new owner reads its job's reservations back with tokens of its own fence."""
    request = wanted(1)
    (made,) = await service.reserve(request)
    (taken,) = await service.extend("t", request.job_id, 2, 60_000)
    assert taken.fence == 2
    assert taken.token != made.token


async def test_database_refuses_illegal_edges(service: ReservationService, pool: AsyncConnectionPool) -> None:
    """What has been executed cannot become committed again, whoever asks."""
    request = wanted(1)
    await service.reserve(request)
    await service.end("t", request.job_id, [], "EXECUTED")
    async with pool.connection() as connection:
        with pytest.raises(psycopg.Error, match=r"(?i)transition|edge|illegal"):
            await connection.execute("UPDATE reservation.reservations SET state = 'COMMITTED'")


async def test_many_jobs_over_many_nodes_never_deadlock_or_overcommit(
    service: ReservationService, pool: AsyncConnectionPool
) -> None:
    """Jobs that take, extend and give back overlapping nodes all at once never deadlock; no instant is over-committed."""
    nodes = ("a", "b", "c", "d", "e")
    chance = random.Random(3)
    done = asyncio.Event()

    async def job() -> None:
        for _ in range(6):
            request = wanted(
                chance.randint(1, 3), nodes=tuple(chance.sample(nodes, chance.randint(2, 5))), wait_ms=30_000
            )
            await service.reserve(request)
            await service.extend("t", request.job_id, 1, 60_000)
            await service.end("t", request.job_id, [], "EXECUTED")

    async def watch() -> None:
        while not done.is_set():
            for node, qubits in (await promised(pool)).items():
                assert qubits <= CAPACITY, node
            await service.sweep()

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*(job() for _ in range(30)))
    done.set()
    await watching
    assert set((await used(service)).values()) == {0}
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert await found.fetchone() == (0,)


async def test_lines_of_one_node_count_together(service: ReservationService) -> None:
    """Two lines that fit one by one but not together are more than the node has."""
    request = wanted(4)
    request.lines.add(node_id="a", data_qubits=3, state_bytes=100, executions=1)
    with pytest.raises(ServiceError, match="has 6 data qubits, 7 are wanted") as refused:
        await service.reserve(request)
    assert refused.value.code == "REJECTED"


async def test_contradicting_capacities_are_refused(service: ReservationService) -> None:
    """One node has one capacity in a request."""
    request = wanted(1)
    request.capacities.add(node_id="a", data_qubits=9, state_bytes=10_000, epoch=1)
    with pytest.raises(ServiceError, match="twice") as refused:
        await service.reserve(request)
    assert refused.value.code == "INVALID_ARGUMENT"
