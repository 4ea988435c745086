"""SQL of the runtime, and the arrays that its set-based statements take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_runtime.domain.claim import Change, RecordRow
from qmesh_runtime.domain.history import status_name
from qmesh_runtime.ports import NewJob

WAKE_SUBJECT = "qmesh.jobs.wake"
_TYPES: dict[int, str] = {
    value: name.removeprefix("JOB_EVENT_TYPE_") for name, value in events.JobEventType.items()
}

_COLUMNS = """job_id, tenant_id, status, plan_ids, error_code, error_message, progress_total,
    progress_completed, progress_active, preview, created_at, updated_at, shots, seed, strategy, noise,
    last_sequence, cancel_requested, metadata, min_fidelity, timeout_seconds, precision"""

SUBMIT = f"""
WITH job AS (
    INSERT INTO runtime.workflow_runs (job_id, tenant_id, principal, status, request, preview, shots, seed, strategy,
        noise, metadata, min_fidelity, timeout_seconds, priority, idempotency_key, body_digest, last_sequence,
        precision, deadline_at)
    SELECT j.job_id, j.tenant_id, j.principal, 'QUEUED', j.request, j.preview, j.shots, j.seed, j.strategy, j.noise,
        j.metadata, j.min_fidelity, j.timeout_seconds, j.priority, j.key, j.digest, 1,
        j.precision, now() + make_interval(secs => j.timeout_seconds)
    FROM unnest(%(job)s::uuid[], %(tenant)s::text[], %(principal)s::text[], %(request)s::bytea[],
        %(preview)s::text[], %(shots)s::bigint[], %(seed)s::numeric[], %(strategy)s::int[], %(noise)s::bool[],
        %(metadata)s::bytea[], %(min_fidelity)s::float8[], %(timeout)s::float8[], %(priority)s::int[],
        %(key)s::text[], %(digest)s::bytea[], %(precision)s::int[])
      AS j(job_id, tenant_id, principal, request, preview, shots, seed, strategy, noise, metadata, min_fidelity,
           timeout_seconds, priority, key, digest, precision)
    ON CONFLICT DO NOTHING
    RETURNING {_COLUMNS}
), first AS (
    INSERT INTO runtime.execution_events (job_id, sequence, tenant_id, type, status, fence, payload)
    SELECT job.job_id, 1, job.tenant_id, 'STATUS', 'QUEUED', 0, e.payload
    FROM unnest(%(job)s::uuid[], %(event)s::bytea[]) AS e(job_id, payload) JOIN job USING (job_id)
), bell AS (
    INSERT INTO runtime.outbox (job_id, tenant_id, subject, payload)
    SELECT job.job_id, job.tenant_id, %(subject)s, w.payload
    FROM unnest(%(job)s::uuid[], %(wake)s::bytea[]) AS w(job_id, payload) JOIN job USING (job_id)
)
SELECT {_COLUMNS}, NULL::bytea, NULL::int FROM job
"""  # noqa: S608 - only the constant column list is formatted in

GET = f"""
SELECT {_COLUMNS}, CASE WHEN octet_length({{result}}) <= %(most)s THEN {{result}} END, octet_length({{result}})
FROM runtime.workflow_runs WHERE tenant_id = %(tenant)s AND job_id = %(job)s
"""  # noqa: S608 - only the constant column list is formatted in
LIST = f"""
SELECT {_COLUMNS}, NULL::bytea, NULL::int FROM runtime.workflow_runs
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
SELECT r.final, ARRAY(SELECT e.payload FROM runtime.execution_events e
    WHERE e.job_id = r.job_id AND e.sequence > %(after)s ORDER BY e.sequence LIMIT 5000)
FROM runtime.workflow_runs r WHERE r.tenant_id = %(tenant)s AND r.job_id = %(job)s
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
UPDATE runtime.workflow_runs r SET lease_until = now() + make_interval(secs => %(lease)s)
FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]) AS mine(job_id, fence)
WHERE r.job_id = mine.job_id AND r.fence = mine.fence AND NOT r.final RETURNING r.job_id
"""
LET_GO = """
UPDATE runtime.workflow_runs r SET lease_until = now() - interval '1 second'
FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]) AS mine(job_id, fence)
WHERE r.job_id = mine.job_id AND r.fence = mine.fence AND NOT r.final
"""
RECORDS = """
SELECT execution_id, plan_id, block_id, parameter_set, slice, node_id, fragment_ids, record, signature
FROM runtime.execution_records WHERE job_id = %(job)s ORDER BY number
"""
_UPDATED = """
    UPDATE runtime.workflow_runs r SET status = c.status, last_sequence = c.last_sequence,
        progress_total = c.total, progress_completed = c.completed, progress_active = c.active,
        plan_ids = CASE WHEN c.plan_id IS NULL THEN r.plan_ids ELSE array_append(r.plan_ids, c.plan_id) END,
        error_code = coalesce(c.error_code, r.error_code),
        error_message = coalesce(c.error_message, r.error_message),
        result = coalesce(c.result, r.result), summary = coalesce(c.summary, r.summary),
        claims = CASE WHEN c.advanced THEN 0 ELSE r.claims END, updated_at = clock_timestamp()
    FROM unnest(%(job)s::uuid[], %(fence)s::bigint[], %(after)s::bigint[], %(status)s::text[], %(last)s::bigint[], %(total)s::int[],
        %(completed)s::int[], %(active)s::int[], %(plan)s::uuid[], %(code)s::text[], %(message)s::text[],
        %(result)s::bytea[], %(summary)s::bytea[], %(advanced)s::bool[])
      AS c(job_id, fence, after, status, last_sequence, total, completed, active, plan_id, error_code, error_message, result,
           summary, advanced)
    WHERE r.job_id = c.job_id AND r.fence = c.fence AND r.last_sequence = c.after AND NOT r.final
    RETURNING r.job_id, r.fence, r.tenant_id
"""
_HISTORY_ADDED = """
    INSERT INTO runtime.execution_events (job_id, sequence, tenant_id, type, status, fence, payload)
    SELECT e.job_id, e.sequence, held.tenant_id, e.type, e.status, e.fence, e.payload
    FROM unnest(%(event_job)s::uuid[], %(event_sequence)s::bigint[], %(event_type)s::text[],
        %(event_status)s::text[], %(event_fence)s::bigint[], %(event_payload)s::bytea[])
      AS e(job_id, sequence, type, status, fence, payload) JOIN held USING (job_id, fence)
"""
_RECORDS_ADDED = """
    INSERT INTO runtime.execution_records (job_id, tenant_id, execution_id, plan_id, block_id, parameter_set, slice,
        node_id, fence, fragment_ids, record, signature)
    SELECT r.job_id, held.tenant_id, r.execution_id, r.plan_id, r.block_id, r.parameter_set, r.slice, r.node_id,
        r.fence, string_to_array(r.fragments, ','), r.record, r.signature
    FROM unnest(%(record_job)s::uuid[], %(record_execution)s::uuid[], %(record_plan)s::uuid[],
        %(record_block)s::int[], %(record_set)s::int[], %(record_slice)s::int[], %(record_node)s::text[],
        %(record_fence)s::bigint[], %(record_fragments)s::text[], %(record)s::bytea[], %(record_signature)s::bytea[])
      AS r(job_id, execution_id, plan_id, block_id, parameter_set, slice, node_id, fence, fragments, record,
           signature) JOIN held USING (job_id, fence)
    ON CONFLICT (job_id, execution_id) DO NOTHING
"""
_FRAGMENTS_ADDED = """
    INSERT INTO runtime.fragment_commits (job_id, parameter_set, slice, fragment_id, tenant_id, execution_id, fence)
    SELECT f.job_id, f.parameter_set, f.slice, f.fragment_id, held.tenant_id, f.execution_id, f.fence
    FROM unnest(%(fragment_job)s::uuid[], %(fragment_set)s::int[], %(fragment_slice)s::int[], %(fragment)s::text[],
        %(fragment_execution)s::uuid[], %(fragment_fence)s::bigint[])
      AS f(job_id, parameter_set, slice, fragment_id, execution_id, fence) JOIN held USING (job_id, fence)
    ON CONFLICT DO NOTHING
"""
_COLUMNS_ADDED = """
    INSERT INTO runtime.shot_columns (job_id, number, tenant_id, bits)
    SELECT b.job_id, b.number, held.tenant_id, b.bits
    FROM unnest(%(bits_job)s::uuid[], %(bits_fence)s::bigint[], %(bits_number)s::bigint[], %(bits)s::bytea[])
      AS b(job_id, fence, number, bits) JOIN held USING (job_id, fence)
    ON CONFLICT DO NOTHING
"""


def _applied(*, records: bool, columns: bool) -> str:
    """A statement that makes changes durable together, and names the jobs whose fence held."""
    parts = [f"WITH held AS ({_UPDATED})", f"history AS ({_HISTORY_ADDED})"]
    if records:
        parts += [f"records AS ({_RECORDS_ADDED})", f"fragments AS ({_FRAGMENTS_ADDED})"]
    if columns:
        parts.append(f"bits AS ({_COLUMNS_ADDED})")
    return ", ".join(parts) + " SELECT job_id, fence FROM held"  # noqa: S608 - constants only


APPLY = {
    (records, columns): _applied(records=records, columns=columns)
    for records in (False, True)
    for columns in (False, True)
}
"""Statements by what is in them: records, columns."""
OUTBOX_TAKE = """
WITH oldest AS (
    SELECT o.id, o.subject, o.payload, r.fence > 0 AS claimed
    FROM runtime.outbox o JOIN runtime.workflow_runs r USING (job_id) ORDER BY o.id LIMIT %(limit)s
), answered AS (
    DELETE FROM runtime.outbox o USING oldest WHERE o.id = oldest.id AND oldest.claimed
)
SELECT id, subject, payload FROM oldest WHERE NOT claimed
"""
OUTBOX_DONE = "DELETE FROM runtime.outbox WHERE id = ANY(%(ids)s::bigint[])"


def job_arrays(jobs: Sequence[NewJob]) -> dict[str, Any]:
    """Parameters of `SUBMIT`: each job with its first event and its doorbell row."""
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
        "precision": [int(request.precision or state.PRECISION_DOUBLE) for request in requests],
        "event": [job.event.SerializeToString() for job in jobs],
        "subject": WAKE_SUBJECT,
        "wake": [events.JobWake(job_id=job.job_id).SerializeToString() for job in jobs],
    }


def apply(changes: Sequence[Change], merged: Sequence[Change]) -> tuple[str, dict[str, Any]]:
    """The statement for changes, and its parameters; `merged` has one change for each job and fence."""
    progress = [change.progress or events.Progress() for change in merged]
    history = [(event, change.fence) for change in changes for event in change.events]
    parameters: dict[str, Any] = {
        "job": [change.job_id for change in merged],
        "fence": [change.fence for change in merged],
        "after": [change.after for change in merged],
        "status": [status_name(change.status) for change in merged],
        "last": [change.events[-1].sequence if change.events else change.after for change in merged],
        "total": [item.total for item in progress],
        "completed": [item.completed for item in progress],
        "active": [item.active for item in progress],
        "plan": [change.plan_id for change in merged],
        "code": [change.error.code if change.error else None for change in merged],
        "message": [change.error.message if change.error else None for change in merged],
        "result": [change.result for change in merged],
        "summary": [change.summary for change in merged],
        "advanced": [change.advanced for change in merged],
        "event_job": [event.job_id for event, _ in history],
        "event_sequence": [event.sequence for event, _ in history],
        "event_type": [_TYPES[event.type] for event, _ in history],
        "event_status": [status_name(event.status) for event, _ in history],
        "event_fence": [fence for _, fence in history],
        "event_payload": [event.SerializeToString() for event, _ in history],
    }
    records = [(change, row) for change in changes for row in change.records]
    if records:
        parameters |= _record_arrays(records)
    columns = [(change, number, bits) for change in changes for number, bits in change.columns.items()]
    if columns:
        parameters |= _column_arrays(columns)
    return APPLY[bool(records), bool(columns)], parameters


def _record_arrays(records: Sequence[tuple[Change, RecordRow]]) -> dict[str, list[Any]]:
    fragments = [(change, row, fragment) for change, row in records for fragment in row.fragment_ids]
    return {
        "record_job": [change.job_id for change, _ in records],
        "record_execution": [row.execution_id for _, row in records],
        "record_plan": [row.plan_id for _, row in records],
        "record_block": [row.block_id for _, row in records],
        "record_set": [row.parameter_set for _, row in records],
        "record_slice": [row.slice for _, row in records],
        "record_node": [row.node_id for _, row in records],
        "record_fence": [change.fence for change, _ in records],
        "record_fragments": [",".join(row.fragment_ids) for _, row in records],
        "record": [row.record for _, row in records],
        "record_signature": [row.signature for _, row in records],
        "fragment_job": [change.job_id for change, _, _ in fragments],
        "fragment_set": [row.parameter_set for _, row, _ in fragments],
        "fragment_slice": [row.slice for _, row, _ in fragments],
        "fragment": [fragment for _, _, fragment in fragments],
        "fragment_execution": [row.execution_id for _, row, _ in fragments],
        "fragment_fence": [change.fence for change, _, _ in fragments],
    }


def _column_arrays(columns: Sequence[tuple[Change, int, bytes]]) -> dict[str, list[Any]]:
    return {
        "bits_job": [change.job_id for change, _, _ in columns],
        "bits_fence": [change.fence for change, _, _ in columns],
        "bits_number": [number for _, number, _ in columns],
        "bits": [bits for _, _, bits in columns],
    }
