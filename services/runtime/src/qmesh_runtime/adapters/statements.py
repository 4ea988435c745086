"""SQL of the runtime, and the arrays that its set-based statements take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qmesh.events.v1 import events_pb2 as events
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_runtime.domain.claim import Change, RecordRow
from qmesh_runtime.domain.history import status_name
from qmesh_runtime.ports import NewJob

WAKE_SUBJECT = "qmesh.jobs.wake"

_COLUMNS = """job_id, tenant_id, status, plan_ids, error_code, error_message, progress_total,
    progress_completed, progress_active, preview, created_at, updated_at, shots, seed, strategy, noise,
    last_sequence, cancel_requested, metadata, min_fidelity, timeout_seconds"""

INSERT_JOBS = """
INSERT INTO runtime.workflow_runs (job_id, tenant_id, principal, status, request, preview, shots, seed, strategy,
    noise, metadata, min_fidelity, timeout_seconds, priority, idempotency_key, body_digest, last_sequence,
    deadline_at)
SELECT j.job_id, j.tenant_id, j.principal, 'QUEUED', j.request, j.preview, j.shots, j.seed, j.strategy, j.noise,
    j.metadata, j.min_fidelity, j.timeout_seconds, j.priority, j.key, j.digest, 1,
    now() + make_interval(secs => j.timeout_seconds)
FROM unnest(%(job)s::uuid[], %(tenant)s::text[], %(principal)s::text[], %(request)s::bytea[], %(preview)s::text[],
    %(shots)s::bigint[], %(seed)s::numeric[], %(strategy)s::int[], %(noise)s::bool[], %(metadata)s::bytea[],
    %(min_fidelity)s::float8[], %(timeout)s::float8[], %(priority)s::int[], %(key)s::text[], %(digest)s::bytea[])
  AS j(job_id, tenant_id, principal, request, preview, shots, seed, strategy, noise, metadata, min_fidelity,
       timeout_seconds, priority, key, digest)
ON CONFLICT DO NOTHING
RETURNING job_id
"""

GET = f"""
SELECT {_COLUMNS}, {{result}} FROM runtime.workflow_runs WHERE tenant_id = %(tenant)s AND job_id = %(job)s
"""  # noqa: S608 - only the constant column list is formatted in
LIST = f"""
SELECT {_COLUMNS}, NULL::bytea FROM runtime.workflow_runs
WHERE tenant_id = %(tenant)s AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s::text[]))
  AND (%(before)s::timestamptz IS NULL OR (created_at, job_id) < (%(before)s::timestamptz, %(before_id)s::uuid))
ORDER BY created_at DESC, job_id DESC LIMIT %(limit)s
"""  # noqa: S608 - only the constant column list is formatted in
BY_KEY = """
SELECT job_id, body_digest FROM runtime.workflow_runs WHERE tenant_id = %(tenant)s AND idempotency_key = %(key)s
"""
CANCEL = """
UPDATE runtime.workflow_runs SET cancel_requested = true, updated_at = now()
WHERE tenant_id = %(tenant)s AND job_id = %(job)s AND NOT final RETURNING job_id
"""
FINAL = """
SELECT final, status, shots FROM runtime.workflow_runs WHERE tenant_id = %(tenant)s AND job_id = %(job)s
"""
HISTORY = """
SELECT payload FROM runtime.execution_events WHERE job_id = %(job)s AND sequence > %(after)s
ORDER BY sequence LIMIT 5000
"""
COLUMNS = """
SELECT number, bits FROM runtime.shot_columns WHERE job_id = %(job)s AND number BETWEEN %(low)s AND %(high)s
ORDER BY number
"""
_CLAIMED = """SET owner = %(owner)s, lease_until = now() + make_interval(secs => %(lease)s), fence = r.fence + 1,
    claims = r.claims + 1"""
_RETURNED = """r.job_id, r.tenant_id, r.fence, r.status, r.claims, r.last_sequence, r.deadline_at, r.cancel_requested,
    r.plan_ids, r.request"""
CLAIM = f"""
UPDATE runtime.workflow_runs r {_CLAIMED}
WHERE r.job_id = ANY(%(ids)s::uuid[]) AND NOT r.final AND r.lease_until < now()
RETURNING {_RETURNED}
"""
SWEEP = f"""
UPDATE runtime.workflow_runs r {_CLAIMED}
FROM (SELECT job_id FROM runtime.workflow_runs
      WHERE NOT final AND lease_until < now() AND (owner IS NOT NULL OR created_at < now() - interval '1 second')
      ORDER BY priority DESC, created_at FOR UPDATE SKIP LOCKED LIMIT %(limit)s) due
WHERE r.job_id = due.job_id
RETURNING {_RETURNED}
"""  # noqa: S608 - constants only
HEARTBEAT = """
UPDATE runtime.workflow_runs SET lease_until = now() + make_interval(secs => %(lease)s)
WHERE job_id = ANY(%(ids)s::uuid[]) AND owner = %(owner)s AND NOT final RETURNING job_id
"""
LET_GO = """
UPDATE runtime.workflow_runs SET lease_until = now() - interval '1 second'
WHERE job_id = ANY(%(ids)s::uuid[]) AND owner = %(owner)s AND NOT final
"""
RECORDS = """
SELECT execution_id, plan_id, block_id, parameter_set, slice, node_id, fragment_ids, record, signature
FROM runtime.execution_records WHERE job_id = %(job)s ORDER BY number
"""
UPDATE_JOBS = """
UPDATE runtime.workflow_runs r SET status = c.status, last_sequence = greatest(r.last_sequence, c.last_sequence),
    progress_total = c.total, progress_completed = c.completed, progress_active = c.active,
    plan_ids = CASE WHEN c.plan_id IS NULL THEN r.plan_ids ELSE array_append(r.plan_ids, c.plan_id) END,
    error_code = coalesce(c.error_code, r.error_code), error_message = coalesce(c.error_message, r.error_message),
    result = coalesce(c.result, r.result), summary = coalesce(c.summary, r.summary),
    claims = CASE WHEN c.advanced THEN 0 ELSE r.claims END, updated_at = clock_timestamp()
FROM unnest(%(job)s::uuid[], %(fence)s::bigint[], %(status)s::text[], %(last)s::bigint[], %(total)s::int[],
    %(completed)s::int[], %(active)s::int[], %(plan)s::uuid[], %(code)s::text[], %(message)s::text[],
    %(result)s::bytea[], %(summary)s::bytea[], %(advanced)s::bool[])
  AS c(job_id, fence, status, last_sequence, total, completed, active, plan_id, error_code, error_message, result,
       summary, advanced)
WHERE r.job_id = c.job_id AND r.fence = c.fence AND NOT r.final
RETURNING r.job_id, r.fence
"""
INSERT_EVENTS = """
INSERT INTO runtime.execution_events (job_id, sequence, tenant_id, type, status, fence, payload)
SELECT * FROM unnest(%(job)s::uuid[], %(sequence)s::bigint[], %(tenant)s::text[], %(type)s::text[],
    %(status)s::text[], %(fence)s::bigint[], %(payload)s::bytea[])
"""
INSERT_RECORDS = """
INSERT INTO runtime.execution_records (job_id, tenant_id, execution_id, plan_id, block_id, parameter_set, slice,
    node_id, fence, fragment_ids, record, signature)
SELECT r.job_id, r.tenant_id, r.execution_id, r.plan_id, r.block_id, r.parameter_set, r.slice, r.node_id, r.fence,
    string_to_array(r.fragments, ','), r.record, r.signature
FROM unnest(%(job)s::uuid[], %(tenant)s::text[], %(execution)s::uuid[], %(plan)s::uuid[], %(block)s::int[],
    %(set)s::int[], %(slice)s::int[], %(node)s::text[], %(fence)s::bigint[], %(fragments)s::text[],
    %(record)s::bytea[], %(signature)s::bytea[])
  AS r(job_id, tenant_id, execution_id, plan_id, block_id, parameter_set, slice, node_id, fence, fragments, record,
       signature)
ON CONFLICT (job_id, execution_id) DO NOTHING
"""
INSERT_FRAGMENTS = """
INSERT INTO runtime.fragment_commits (job_id, parameter_set, slice, fragment_id, tenant_id, execution_id, fence)
SELECT * FROM unnest(%(job)s::uuid[], %(set)s::int[], %(slice)s::int[], %(fragment)s::text[], %(tenant)s::text[],
    %(execution)s::uuid[], %(fence)s::bigint[])
ON CONFLICT DO NOTHING
"""
INSERT_COLUMNS = """
INSERT INTO runtime.shot_columns (job_id, number, tenant_id, bits)
SELECT * FROM unnest(%(job)s::uuid[], %(number)s::bigint[], %(tenant)s::text[], %(bits)s::bytea[])
ON CONFLICT DO NOTHING
"""
OUTBOX_PUT = """
INSERT INTO runtime.outbox (job_id, tenant_id, subject, payload)
SELECT * FROM unnest(%(job)s::uuid[], %(tenant)s::text[], %(subject)s::text[], %(payload)s::bytea[])
"""
OUTBOX_TAKE = "SELECT id, subject, payload FROM runtime.outbox ORDER BY id LIMIT %(limit)s"
OUTBOX_DONE = "DELETE FROM runtime.outbox WHERE id = ANY(%(ids)s::bigint[])"


def job_arrays(jobs: Sequence[NewJob]) -> dict[str, list[Any]]:
    """Arrays of `INSERT_JOBS`."""
    requests = [runtime.SubmitRequest.FromString(job.request) for job in jobs]
    return {
        "job": [job.job_id for job in jobs],
        "tenant": [job.tenant_id for job in jobs],
        "principal": [job.principal for job in jobs],
        "request": [job.request for job in jobs],
        "preview": [job.preview for job in jobs],
        "shots": [job.shots for job in jobs],
        "seed": [request.seed for request in requests],
        "strategy": [int(request.strategy) for request in requests],
        "noise": [request.noise for request in requests],
        "metadata": [request.metadata_json for request in requests],
        "min_fidelity": [request.min_fidelity for request in requests],
        "timeout": [job.timeout_seconds for job in jobs],
        "priority": [job.priority for job in jobs],
        "key": [job.idempotency_key for job in jobs],
        "digest": [job.body_digest for job in jobs],
    }


def wake_arrays(jobs: Sequence[NewJob]) -> dict[str, list[Any]]:
    """Arrays of `OUTBOX_PUT`: one doorbell row a job."""
    return {
        "job": [job.job_id for job in jobs],
        "tenant": [job.tenant_id for job in jobs],
        "subject": [WAKE_SUBJECT for _ in jobs],
        "payload": [events.JobWake(job_id=job.job_id).SerializeToString() for job in jobs],
    }


def change_arrays(changes: Sequence[Change]) -> dict[str, list[Any]]:
    """Arrays of `UPDATE_JOBS`."""
    progress = [change.progress or events.Progress() for change in changes]
    return {
        "job": [change.job_id for change in changes],
        "fence": [change.fence for change in changes],
        "status": [status_name(change.status) for change in changes],
        "last": [change.events[-1].sequence if change.events else 0 for change in changes],
        "total": [item.total for item in progress],
        "completed": [item.completed for item in progress],
        "active": [item.active for item in progress],
        "plan": [change.plan_id for change in changes],
        "code": [change.error.code if change.error else None for change in changes],
        "message": [change.error.message if change.error else None for change in changes],
        "result": [change.result for change in changes],
        "summary": [change.summary for change in changes],
        "advanced": [change.advanced for change in changes],
    }


def event_arrays(history: Sequence[tuple[events.JobEvent, int]]) -> dict[str, list[Any]]:
    """Arrays of `INSERT_EVENTS`."""
    return {
        "job": [event.job_id for event, _ in history],
        "sequence": [event.sequence for event, _ in history],
        "tenant": [event.tenant_id for event, _ in history],
        "type": [
            events.JobEventType.Name(event.type).removeprefix("JOB_EVENT_TYPE_") for event, _ in history
        ],
        "status": [status_name(event.status) for event, _ in history],
        "fence": [fence for _, fence in history],
        "payload": [event.SerializeToString() for event, _ in history],
    }


def record_arrays(records: Sequence[tuple[Change, RecordRow]]) -> dict[str, list[Any]]:
    """Arrays of `INSERT_RECORDS`."""
    return {
        "job": [change.job_id for change, _ in records],
        "tenant": [change.tenant_id for change, _ in records],
        "execution": [row.execution_id for _, row in records],
        "plan": [row.plan_id for _, row in records],
        "block": [row.block_id for _, row in records],
        "set": [row.parameter_set for _, row in records],
        "slice": [row.slice for _, row in records],
        "node": [row.node_id for _, row in records],
        "fence": [change.fence for change, _ in records],
        "fragments": [",".join(row.fragment_ids) for _, row in records],
        "record": [row.record for _, row in records],
        "signature": [row.signature for _, row in records],
    }


def fragment_arrays(records: Sequence[tuple[Change, RecordRow]]) -> dict[str, list[Any]]:
    """Arrays of `INSERT_FRAGMENTS`: one row a committed fragment."""
    rows = [(change, row, fragment) for change, row in records for fragment in row.fragment_ids]
    return {
        "job": [change.job_id for change, _, _ in rows],
        "set": [row.parameter_set for _, row, _ in rows],
        "slice": [row.slice for _, row, _ in rows],
        "fragment": [fragment for _, _, fragment in rows],
        "tenant": [change.tenant_id for change, _, _ in rows],
        "execution": [row.execution_id for _, row, _ in rows],
        "fence": [change.fence for change, _, _ in rows],
    }


def column_arrays(columns: Sequence[tuple[Change, int, bytes]]) -> dict[str, list[Any]]:
    """Arrays of `INSERT_COLUMNS`."""
    return {
        "job": [change.job_id for change, _, _ in columns],
        "number": [number for _, number, _ in columns],
        "tenant": [change.tenant_id for change, _, _ in columns],
        "bits": [bits for _, _, bits in columns],
    }
