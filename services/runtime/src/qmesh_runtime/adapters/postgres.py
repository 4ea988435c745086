"""Jobs in PostgreSQL: the truth. Every write after the submit carries the job's fence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncCursor
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from qmesh.events.v1 import events_pb2 as events
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_kit.errors import ServiceError
from qmesh_kit.sql.writer import GroupWriter
from qmesh_runtime.adapters import statements as sql
from qmesh_runtime.adapters.rows import job_of, merge
from qmesh_runtime.domain.claim import Change, Claim, RecordRow
from qmesh_runtime.domain.history import status_name
from qmesh_runtime.ports import NewJob, StaleClaimError

Item = NewJob | Change
_DEADLINE = 10.0
_LARGEST = (1 << 31) - 1  # of a value in PostgreSQL


class PostgresJobStore:
    """Jobs, history, records and outbox; writes are grouped into few transactions."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        owner: str,
        lease_seconds: float,
        on_commit: Callable[[Sequence[Item]], None],
    ) -> None:
        """Takes the pool, the name of this replica, the length of its leases, and who is told of what is durable."""
        self._pool = pool
        self._owner = owner
        self._lease = lease_seconds
        self._jobs: GroupWriter[NewJob, runtime.Job | None] = GroupWriter(
            pool, self._insert, on_commit=on_commit, single_statement=True
        )
        self._changes: GroupWriter[Change, None] = GroupWriter(
            pool, self._update, on_commit=on_commit, single_statement=True
        )

    async def run(self) -> None:
        """Writes until it is cancelled; runs inside the service's task group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._jobs.run())
            group.create_task(self._changes.run())

    async def flush(self) -> None:
        """Waits until nothing is pending."""
        await self._jobs.flush()
        await self._changes.flush()

    async def submit(self, job: NewJob) -> tuple[runtime.Job, bool]:
        """Makes a job durable; an idempotent repeat gives the first job."""
        async with asyncio.timeout(_DEADLINE):
            made = await self._jobs.submit(job)
            if made is not None:
                return made, False
            return await self._existing(job), True

    async def _existing(self, job: NewJob) -> runtime.Job:
        row = await self._one(sql.BY_KEY, {"tenant": job.tenant_id, "key": job.idempotency_key})
        if row is None:
            raise ServiceError("UNAVAILABLE", "the job was not stored; submit it again", status="UNAVAILABLE")
        if bytes(row[1]) != job.body_digest:
            raise ServiceError(
                "IDEMPOTENCY_MISMATCH",
                "this idempotency key was used with another body",
                status="ALREADY_EXISTS",
            )
        return await self.get(job.tenant_id, str(row[0]), runtime.RESULT_DETAIL_UNSPECIFIED)

    async def get(self, tenant_id: str, job_id: str, detail: int, most: int = _LARGEST) -> runtime.Job:
        """One job of a tenant; of a result above `most` bytes it has the size only."""
        column = {runtime.RESULT_DETAIL_FULL: "result", runtime.RESULT_DETAIL_SUMMARY: "summary"}.get(
            runtime.ResultDetail.ValueType(detail), "NULL::bytea"
        )
        row = await self._one(
            sql.GET.format(result=column), {"tenant": tenant_id, "job": job_id, "most": most}
        )
        if row is None:
            raise not_found(job_id)
        return job_of(row)

    async def page(
        self, tenant_id: str, statuses: Sequence[int], limit: int, before: tuple[datetime, str] | None
    ) -> list[runtime.Job]:
        """Jobs of a tenant, newest first."""
        rows = await self._all(
            sql.LIST,
            {
                "tenant": tenant_id,
                "statuses": [status_name(status) for status in statuses] or None,
                "limit": limit,
                "before": before[0] if before else None,
                "before_id": before[1] if before else None,
            },
        )
        return [job_of(row) for row in rows]

    async def request_cancel(self, tenant_id: str, job_id: str) -> runtime.Job:
        """Notes the wish to cancel."""
        row = await self._one(sql.CANCEL, {"tenant": tenant_id, "job": job_id})
        job = await self.get(tenant_id, job_id, runtime.RESULT_DETAIL_UNSPECIFIED)
        if row is None:
            raise ServiceError(
                "CONFLICT",
                f"the job has already ended as {status_name(job.status)}",
                status="FAILED_PRECONDITION",
            )
        return job

    async def history(self, tenant_id: str, job_id: str, after: int) -> tuple[list[events.JobEvent], bool]:
        """Events above a sequence, and whether the job has ended."""
        row = await self._one(sql.HISTORY, {"tenant": tenant_id, "job": job_id, "after": after})
        if row is None:
            raise not_found(job_id)
        return [events.JobEvent.FromString(payload) for payload in row[1]], bool(row[0])

    async def shots(self, tenant_id: str, job_id: str, parameter_set: int) -> tuple[dict[int, bytes], int]:
        """Packed final columns by bit, and the number of shots."""
        row = await self._one(sql.FINAL, {"tenant": tenant_id, "job": job_id})
        if row is None:
            raise not_found(job_id)
        if row[1] != "COMPLETED":
            raise ServiceError(
                "CONFLICT",
                f"the job is {row[1]}; shots exist when it is COMPLETED",
                status="FAILED_PRECONDITION",
            )
        low = parameter_set << 16
        rows = await self._all(sql.COLUMNS, {"job": job_id, "low": low, "high": low + 65535})
        return {int(number) - low: bytes(column) for number, column in rows}, int(row[2])

    async def claim(self, job_ids: Sequence[str], limit: int) -> list[Claim]:
        """Takes the lease of jobs that nobody holds."""
        statement = sql.CLAIM if job_ids else sql.SWEEP
        rows = await self._all(
            statement,
            {"ids": list(job_ids), "owner": self._owner, "lease": self._lease, "limit": limit},
        )
        return [
            Claim(
                job_id=str(row[0]),
                tenant_id=row[1],
                fence=row[2],
                status=events.JobStatus.Value(f"JOB_STATUS_{row[3]}"),
                claims=row[4],
                last_sequence=row[5],
                deadline=row[6].timestamp(),
                cancel_requested=row[7],
                plan_ids=tuple(str(plan) for plan in row[8]),
                request=bytes(row[9]),
            )
            for row in rows
        ]

    async def heartbeat(self, claims: Sequence[Claim]) -> set[str]:
        """Extends leases; returns the jobs still held."""
        rows = await self._all(sql.HEARTBEAT, {**_held(claims), "lease": self._lease})
        return {str(row[0]) for row in rows}

    async def let_go(self, claims: Sequence[Claim]) -> None:
        """Gives leases back at once."""
        await self._all(sql.LET_GO, _held(claims))

    async def records(self, job_id: str) -> list[RecordRow]:
        """All recorded answers of a job, oldest first."""
        rows = await self._all(sql.RECORDS, {"job": job_id})
        return [
            RecordRow(str(r[0]), str(r[1]), r[2], r[3], r[4], r[5], tuple(r[6]), bytes(r[7]), bytes(r[8]))
            for r in rows
        ]

    def enqueue(self, change: Change) -> asyncio.Future[Any]:
        """Makes a change durable soon, in the order of the calls; the future ends with the commit."""
        return self._changes.enqueue(change)

    async def write(self, change: Change) -> None:
        """Makes a change durable."""
        async with asyncio.timeout(_DEADLINE):
            await self.enqueue(change)

    async def drain_outbox(self, limit: int) -> list[tuple[int, str, bytes]]:
        """Oldest doorbell rows of jobs that still wait: (id, subject, payload); those of claimed jobs are forgotten."""
        rows = await self._all(sql.OUTBOX_TAKE, {"limit": limit})
        return [(row[0], row[1], bytes(row[2])) for row in rows]

    async def outbox_done(self, ids: Sequence[int]) -> None:
        """Forgets doorbell rows that were published."""
        await self._all(sql.OUTBOX_DONE, {"ids": list(ids)})

    async def _insert(
        self, cursor: AsyncCursor[TupleRow], jobs: Sequence[NewJob]
    ) -> list[runtime.Job | None]:
        """New jobs, each with its first event and doorbell row; None for one whose idempotency key is known."""
        await cursor.execute(sql.SUBMIT.encode(), sql.job_arrays(jobs))
        made = {job.job_id: job for job in map(job_of, await cursor.fetchall())}
        return [made.get(job.job_id) for job in jobs]

    async def _update(
        self, cursor: AsyncCursor[TupleRow], changes: Sequence[Change]
    ) -> list[StaleClaimError | None]:
        """Changes under their fences, with all that belongs to them."""
        statement, parameters = sql.apply(changes, merge(changes))
        await cursor.execute(statement.encode(), parameters)
        held = {(str(row[0]), int(row[1])) for row in await cursor.fetchall()}
        return [
            None
            if (change.job_id, change.fence) in held
            else StaleClaimError(
                f"job {change.job_id} is not this runtime's any more, or a write before was lost"
            )
            for change in changes
        ]

    async def _all(self, statement: str, parameters: dict[str, Any]) -> list[TupleRow]:
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def _one(self, statement: str, parameters: dict[str, Any]) -> TupleRow | None:
        rows = await self._all(statement, parameters)
        return rows[0] if rows else None


def _held(claims: Sequence[Claim]) -> dict[str, Any]:
    return {"ids": [claim.job_id for claim in claims], "fences": [claim.fence for claim in claims]}


def not_found(job_id: str) -> ServiceError:
    """No such job, or another tenant's."""
    return ServiceError("NOT_FOUND", f"there is no job {job_id}", status="NOT_FOUND")
