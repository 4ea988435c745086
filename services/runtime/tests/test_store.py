"""Jobs on a real PostgreSQL: durable in one statement, each write under its fence, nothing twice."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from psycopg_pool import AsyncConnectionPool

from qmesh.circuit.v1.caller_pb2 import Caller
from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_kit.errors import ServiceError
from qmesh_kit.servers import PostgresServer
from qmesh_kit.settings import PostgresSection
from qmesh_kit.sql import migrate, open_pool
from qmesh_kit.testing import database, postgres_server
from qmesh_runtime.__main__ import MIGRATIONS
from qmesh_runtime.adapters.grpc_server import JobServicer
from qmesh_runtime.adapters.postgres import Item, PostgresJobStore
from qmesh_runtime.application.jobs import LARGE, Jobs
from qmesh_runtime.domain.claim import Claim, RecordRow
from qmesh_runtime.domain.history import JobHistory, now_message
from qmesh_runtime.ports import NewJob, StaleClaimError

LEASE = 30.0
EXECUTING = (events.JOB_STATUS_COMPILING, events.JOB_STATUS_RESERVING, events.JOB_STATUS_EXECUTING)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests."""
    with postgres_server(Path(tmp_path_factory.mktemp("runtime"))) as server:
        yield server


@pytest.fixture
async def pool(postgres: PostgresServer) -> AsyncIterator[AsyncConnectionPool]:
    """A pool on a new database with the schema."""
    settings = PostgresSection.model_validate({"url": database(postgres), "migrate_on_start": True})
    await migrate(settings, "runtime", MIGRATIONS)
    async with open_pool(settings, "runtime") as opened:
        yield opened


class Replica(PostgresJobStore):
    """A store that remembers what it was told to be durable."""

    def __init__(self, pool: AsyncConnectionPool, owner: str, lease: float = LEASE) -> None:
        self.durable: list[Item] = []
        super().__init__(pool, owner, lease, self._committed)

    def _committed(self, items: Sequence[Item]) -> None:
        self.durable.extend(items)


@pytest.fixture
async def store(pool: AsyncConnectionPool) -> AsyncIterator[Replica]:
    """A store with its writers."""
    made = Replica(pool, "one")
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()


def new_job(key: str | None = None, body: bytes = b"body", **more: Any) -> NewJob:
    """A job as a client submits it."""
    job_id = str(uuid.uuid4())
    event = events.JobEvent(
        sequence=1,
        job_id=job_id,
        tenant_id="t",
        type=events.JOB_EVENT_TYPE_STATUS,
        status=events.JOB_STATUS_QUEUED,
        at=now_message(),
    )
    request = runtime.SubmitRequest(shots=8, seed=2**64 - 1, **more)
    return NewJob(job_id, "t", "me", request.SerializeToString(), "qreg", 8, 0, 60.0, key, body, event)


async def claimed(store: PostgresJobStore) -> Claim:
    """A new job, claimed."""
    job, _ = await store.submit(new_job())
    (claim,) = await store.claim([job.job_id], 1)
    return claim


def record(claim: Claim) -> RecordRow:
    """A signed answer of two fragments."""
    return RecordRow(
        str(uuid.uuid4()), str(uuid.uuid4()), 0, 0, 0, "node", ("f0", "f1"), b"record of " + claim.job_id.encode(), b"s"
    )  # fmt: skip


async def executing(store: PostgresJobStore, claim: Claim) -> JobHistory:
    """The history of a job that reached EXECUTING."""
    history = JobHistory(claim)
    for status in EXECUTING:
        store.enqueue(history.enter(status))
    await store.flush()
    return history


async def test_submit_makes_job_event_and_doorbell(store: Replica) -> None:
    """One submit is a job with its seed of 64 bits, its first event and its doorbell row."""
    job, existing = await store.submit(new_job())
    assert (job.status, job.seed, existing) == (events.JOB_STATUS_QUEUED, 2**64 - 1, False)
    assert job.precision == state.PRECISION_DOUBLE
    history, final = await store.history("t", job.job_id, 0)
    assert ([event.sequence for event in history], final) == ([1], False)
    ((number, subject, payload),) = await store.drain_outbox(10)
    assert (subject, events.JobWake.FromString(payload).job_id) == ("qmesh.jobs.wake", job.job_id)
    await store.outbox_done([number])
    assert await store.drain_outbox(10) == []


async def test_precision_is_recorded(store: Replica) -> None:
    """A job of single precision says so for as long as it is known."""
    job, _ = await store.submit(new_job(precision=state.PRECISION_SINGLE))
    known = await store.get("t", job.job_id, runtime.RESULT_DETAIL_UNSPECIFIED)
    assert (job.precision, known.precision) == (state.PRECISION_SINGLE, state.PRECISION_SINGLE)


async def test_no_bell_rings_for_a_claimed_job(store: Replica) -> None:
    """Rows of jobs that somebody owns are forgotten; those that wait stay until they are published."""
    await claimed(store)
    waiting, _ = await store.submit(new_job())
    ((number, _, payload),) = await store.drain_outbox(10)
    assert events.JobWake.FromString(payload).job_id == waiting.job_id
    assert [row[0] for row in await store.drain_outbox(10)] == [number]
    await store.claim([waiting.job_id], 1)
    assert await store.drain_outbox(10) == []


async def test_key_gives_the_first_job_again(store: Replica) -> None:
    """The same idempotency key, submitted 20 times at once, is one job; with another body it is refused."""
    answers = await asyncio.gather(*(store.submit(new_job("key")) for _ in range(20)))
    assert len({job.job_id for job, _ in answers}) == 1
    assert sum(not existing for _, existing in answers) == 1
    assert len(await store.drain_outbox(100)) == 1
    with pytest.raises(ServiceError) as refused:
        await store.submit(new_job("key", b"another"))
    assert refused.value.code == "IDEMPOTENCY_MISMATCH"


async def test_many_jobs_are_one_owner_each(pool: AsyncConnectionPool, store: Replica) -> None:
    """Two replicas that claim the same jobs at once never both get one."""
    jobs = [job.job_id for job, _ in await asyncio.gather(*(store.submit(new_job()) for _ in range(30)))]
    other = Replica(pool, "two")
    found = await asyncio.gather(*(replica.claim(jobs, 30) for replica in (store, other, store, other)))
    names = [claim.job_id for claims in found for claim in claims]
    assert sorted(names) == sorted(jobs)


async def test_changes_are_durable_in_order_and_together(store: Replica) -> None:
    """Statuses, events, records, fragments and columns of a job arrive once, in order, and are told after the commit."""
    claim = await claimed(store)
    history = await executing(store, claim)
    block = history.event(events.JOB_EVENT_TYPE_BLOCK_COMPLETED)
    block.records.append(record(claim))
    end = history.enter(events.JOB_STATUS_COMPLETED)
    end.columns, end.result, end.summary = {0: b"\x05", 1: b"\x0a"}, b"{}", b"{}"
    futures = [store.enqueue(block), store.enqueue(end)]
    await asyncio.gather(*futures)
    seen, final = await store.history("t", claim.job_id, 1)
    assert ([event.sequence for event in seen], final) == ([2, 3, 4, 5, 6], True)
    (row,) = await store.records(claim.job_id)
    assert (row.fragment_ids, row.record) == (("f0", "f1"), b"record of " + claim.job_id.encode())
    assert await store.shots("t", claim.job_id, 0) == ({0: b"\x05", 1: b"\x0a"}, 8)
    job = await store.get("t", claim.job_id, runtime.RESULT_DETAIL_FULL)
    assert (job.status, job.last_sequence, job.result_json) == (events.JOB_STATUS_COMPLETED, 6, b"{}")
    assert [event.sequence for item in store.durable if not isinstance(item, NewJob) for event in item.events] == [
        2, 3, 4, 5, 6,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 5])
async def test_large_results_are_asked_for_by_themselves(store: Replica, size: int) -> None:
    """A job carries results of up to 1 MiB, of more the size; `GetResult` gives any of them in pieces, to their tenant."""
    claim = await claimed(store)
    end = (await executing(store, claim)).enter(events.JOB_STATUS_COMPLETED)
    end.result, end.summary = random.Random(size).randbytes(size), b"{}"
    await store.enqueue(end)
    servicer = JobServicer(Jobs(store, lambda _: None, AsyncMock()))
    asked: dict[str, Any] = {"job_id": claim.job_id, "detail": runtime.RESULT_DETAIL_FULL}
    mine, other = Caller(tenant_id="t"), Caller(tenant_id="other")
    job = (await servicer.GetJob(runtime.GetJobRequest(caller=mine, **asked), None)).job
    carried = size <= LARGE
    assert (job.result_json, job.result_bytes) == ((end.result, 0) if carried else (b"", size))
    pieces = [
        part.piece async for part in servicer.GetResult(runtime.GetResultRequest(caller=mine, **asked), None)
    ]
    assert b"".join(pieces) == end.result
    assert max(map(len, pieces)) <= LARGE
    with pytest.raises(ServiceError, match="there is no job"):
        await anext(servicer.GetResult(runtime.GetResultRequest(caller=other, **asked), None))


async def test_stale_owner_writes_nothing(pool: AsyncConnectionPool, store: Replica) -> None:
    """After a take-over no part of an old owner's change is stored, in one batch with the new owner's or alone."""
    slow = Replica(pool, "one", lease=0.0)
    job, _ = await store.submit(new_job())
    (old,) = await slow.claim([job.job_id], 1)
    (new,) = await store.claim([job.job_id], 1)
    assert new.fence == old.fence + 1
    late = JobHistory(old).enter(events.JOB_STATUS_COMPILING)
    late.records.append(record(old))
    late.columns = {0: b"\xff"}
    futures = [store.enqueue(late), store.enqueue(JobHistory(new).enter(events.JOB_STATUS_COMPILING))]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results[0], StaleClaimError)
    assert results[1] is None
    assert await store.records(job.job_id) == []
    history, _ = await store.history("t", job.job_id, 1)
    assert [event.status for event in history] == [events.JOB_STATUS_COMPILING]
    assert await slow.heartbeat([old]) == set()
    assert await store.heartbeat([new]) == {job.job_id}
    await slow.let_go([old])
    assert await store.claim([job.job_id], 1) == []
    await store.let_go([new])
    assert len(await store.claim([job.job_id], 1)) == 1


async def test_nothing_follows_a_change_that_was_lost(store: Replica) -> None:
    """A status, a plan or an answer that the database never got is no gap: what comes after it is refused."""
    claim = await claimed(store)
    history = JobHistory(claim)
    await store.write(history.enter(events.JOB_STATUS_COMPILING))
    history.enter(events.JOB_STATUS_RESERVING)  # lost
    late = [history.enter(events.JOB_STATUS_EXECUTING), history.event(events.JOB_EVENT_TYPE_BLOCK_COMPLETED)]
    late[1].records.append(record(claim))
    results = await asyncio.gather(*map(store.enqueue, late), return_exceptions=True)
    assert [type(result) for result in results] == [StaleClaimError] * 2
    await store.let_go([claim])
    (again,) = await store.claim([claim.job_id], 1)
    assert (again.status, again.last_sequence) == (events.JOB_STATUS_COMPILING, 2)
    assert await store.records(claim.job_id) == []


async def test_record_and_fragment_are_committed_once(store: Replica) -> None:
    """The same signed answer twice is one record."""
    claim = await claimed(store)
    history = await executing(store, claim)
    row = record(claim)
    for _ in range(2):
        change = history.event(events.JOB_EVENT_TYPE_BLOCK_COMPLETED)
        change.records.append(row)
        await store.write(change)
    assert len(await store.records(claim.job_id)) == 1


async def test_one_bad_change_fails_alone(store: Replica) -> None:
    """An illegal edge is refused by the database, and other jobs' changes of the same batch are durable."""
    one, two = await claimed(store), await claimed(store)
    begun = await executing(store, one)
    bad = replace(begun.event(events.JOB_EVENT_TYPE_BLOCK_STARTED), status=events.JOB_STATUS_QUEUED)
    good = JobHistory(two).enter(events.JOB_STATUS_COMPILING)
    results = await asyncio.gather(store.enqueue(bad), store.enqueue(good), return_exceptions=True)
    assert "illegal transition" in str(results[0])
    assert results[1] is None
    history, _ = await store.history("t", one.job_id, 0)
    assert [event.sequence for event in history] == [1, 2, 3, 4]


async def test_foreign_job_is_not_found(store: Replica) -> None:
    """Another tenant reads nothing."""
    claim = await claimed(store)
    for read in (
        store.get("other", claim.job_id, runtime.RESULT_DETAIL_FULL),
        store.history("other", claim.job_id, 0),
        store.shots("other", claim.job_id, 0),
        store.request_cancel("other", claim.job_id),
    ):
        with pytest.raises(ServiceError) as refused:
            await read
        assert refused.value.code == "NOT_FOUND"
