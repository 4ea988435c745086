"""What users can ask of jobs: submit, read, list, cancel, history, shots."""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime

from qmesh.events.v1 import events_pb2 as events
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_kit.errors import ServiceError
from qmesh_runtime.domain.history import now_message
from qmesh_runtime.ports import JobStore, NewJob

LARGE = 1 << 20
"""Bytes of a result document that one message may carry."""
_PREVIEW = 160
_MOST = 200
_MAX_SHOTS = 1_000_000
_LONGEST = 86_400.0


class Jobs:
    """The service's use cases apart from execution."""

    def __init__(
        self,
        store: JobStore,
        wake: Callable[[str], None],
        ring: Callable[[events.JobControl], Awaitable[None]],
    ) -> None:
        """Takes the store, the worker of this replica, and the bell of all replicas."""
        self._store = store
        self._wake = wake
        self._ring = ring

    async def submit(self, request: runtime.SubmitRequest) -> runtime.SubmitResponse:
        """Makes a job durable; the answer comes after the commit."""
        _check(request)
        if not request.HasField("seed"):
            request.seed = secrets.randbits(64)
        job_id = str(uuid.uuid4())
        job = NewJob(
            job_id=job_id,
            tenant_id=request.caller.tenant_id,
            principal=request.caller.principal,
            request=request.SerializeToString(),
            preview=request.text[:_PREVIEW],
            shots=request.shots,
            priority=request.priority,
            timeout_seconds=request.timeout_seconds,
            idempotency_key=request.idempotency_key or None,
            body_digest=request.body_digest,
            event=events.JobEvent(
                sequence=1,
                job_id=job_id,
                tenant_id=request.caller.tenant_id,
                type=events.JOB_EVENT_TYPE_STATUS,
                status=events.JOB_STATUS_QUEUED,
                at=now_message(),
            ),
        )
        made, existing = await self._store.submit(job)
        if not existing:
            self._wake(job_id)
        return runtime.SubmitResponse(job=made, existing=existing)

    async def get(self, request: runtime.GetJobRequest) -> runtime.Job:
        """One job; a large result has to be asked for by itself."""
        return await self._store.get(request.caller.tenant_id, _uuid(request.job_id), request.detail, LARGE)

    async def result(self, request: runtime.GetResultRequest) -> bytes:
        """A result document as JSON; empty without one."""
        job = await self._store.get(request.caller.tenant_id, _uuid(request.job_id), request.detail)
        return job.result_json

    async def page(self, request: runtime.ListJobsRequest) -> runtime.ListJobsResponse:
        """Jobs of a tenant, newest first."""
        limit = min(request.limit or 50, _MOST)
        before = _cursor(request.cursor) if request.cursor else None
        jobs = await self._store.page(request.caller.tenant_id, list(request.statuses), limit + 1, before)
        more = len(jobs) > limit
        page = jobs[:limit]
        cursor = ""
        if more:
            last = page[-1]
            text = f"{last.created_at.ToDatetime().isoformat()}+00:00 {last.job_id}"
            cursor = base64.urlsafe_b64encode(text.encode()).decode()
        return runtime.ListJobsResponse(jobs=page, next_cursor=cursor)

    async def cancel(self, request: runtime.CancelJobRequest) -> runtime.Job:
        """Notes the wish, then rings for whoever owns the job."""
        job = await self._store.request_cancel(request.caller.tenant_id, _uuid(request.job_id))
        await self._ring(events.JobControl(job_id=job.job_id, cancel=True))
        return job

    async def events(self, request: runtime.EventsRequest) -> tuple[list[events.JobEvent], bool]:
        """History above a sequence."""
        return await self._store.history(request.caller.tenant_id, _uuid(request.job_id), request.after)

    async def shots(self, request: runtime.GetShotsRequest) -> tuple[dict[int, bytes], int]:
        """Packed columns of all classical bits."""
        return await self._store.shots(request.caller.tenant_id, _uuid(request.job_id), request.parameter_set)


def _check(request: runtime.SubmitRequest) -> None:
    """The gateway checks for people; this refuses what would break the mesh whoever sends it."""
    problem = ""
    if not 1 <= request.shots <= _MAX_SHOTS:
        problem = f"shots should be 1 to {_MAX_SHOTS}"
    elif not 0 < request.timeout_seconds <= _LONGEST:
        problem = f"timeout_seconds should be above 0 and at most {_LONGEST:g}"
    elif not 0 <= request.min_fidelity <= 1:
        problem = "min_fidelity should be 0 to 1"
    elif not request.caller.tenant_id:
        problem = "a job belongs to a tenant"
    elif request.circuit.symbols and not request.parameter_sets:
        problem = f"the circuit has free parameters: {', '.join(request.circuit.symbols)[:200]}"
    elif any(not request.circuit.symbols for _ in request.parameter_sets):
        problem = "the circuit has no free parameters, but parameter sets are given"
    if problem:
        raise ServiceError("INVALID_ARGUMENT", problem)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ServiceError("NOT_FOUND", "there is no such job: a job's id is a UUID") from None


def _cursor(text: str) -> tuple[datetime, str]:
    try:
        at, _, job_id = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
        return datetime.fromisoformat(at), str(uuid.UUID(job_id))
    except (ValueError, binascii.Error):
        raise ServiceError("INVALID_ARGUMENT", "the cursor is not one that this service gave") from None
