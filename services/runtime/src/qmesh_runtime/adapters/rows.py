"""Rows of the runtime's tables as messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import TupleRow

from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_runtime.domain.claim import Change


def job_of(row: TupleRow) -> runtime.Job:
    """A job from the columns of `statements.GET` and `statements.LIST`."""
    job = runtime.Job(
        job_id=str(row[0]),
        tenant_id=row[1],
        status=events.JobStatus.Value(f"JOB_STATUS_{row[2]}"),
        plan_ids=[str(plan) for plan in row[3]],
        progress=events.Progress(total=row[6], completed=row[7], active=row[8]),
        circuit_preview=row[9],
        shots=row[12],
        seed=int(row[13]),
        strategy=planning.Strategy.ValueType(row[14]),
        noise=row[15],
        last_sequence=row[16],
        cancel_requested=row[17],
        metadata_json=bytes(row[18] or b""),
        min_fidelity=row[19],
        timeout_seconds=row[20],
        precision=state.Precision.ValueType(row[21]),
        result_json=bytes(row[22] or b""),
        result_bytes=(row[23] or 0) if row[22] is None else 0,
    )
    if row[4]:
        job.error.code, job.error.message = row[4], row[5] or ""
    created: datetime = row[10]
    updated: datetime = row[11]
    job.created_at.FromDatetime(created)
    job.updated_at.FromDatetime(updated)
    job.latest_event_at.FromDatetime(updated)
    return job


def merge(changes: Sequence[Change]) -> list[Change]:
    """One change for each job and fence: the newest status, and the first of what is set once."""
    merged: dict[tuple[str, int], Change] = {}
    for change in changes:
        key = (change.job_id, change.fence)
        last = merged.get(key)
        if last is None:
            merged[key] = Change(
                change.job_id,
                change.tenant_id,
                change.fence,
                change.after,
                change.status,
                list(change.events),
                plan_id=change.plan_id,
                progress=change.progress,
                error=change.error,
                result=change.result,
                summary=change.summary,
                advanced=change.advanced,
            )
            continue
        last.status = change.status
        last.events.extend(change.events)
        last.plan_id = change.plan_id or last.plan_id
        last.progress = change.progress or last.progress
        last.error = change.error or last.error
        last.result = change.result or last.result
        last.summary = change.summary or last.summary
        last.advanced = last.advanced or change.advanced
    return [merged[key] for key in sorted(merged)]
