"""Jobs, their history, signed records, shot columns, and the outbox."""

from alembic import op

from qmesh_kit.sql.ddl import append_only, mutable, transitions
from qmesh_model.lifecycle import JOB_EDGES

revision = "0001"
down_revision = None

_WORKFLOW_RUNS = """
CREATE TABLE workflow_runs (
    job_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    principal text NOT NULL,
    status text NOT NULL,
    final boolean NOT NULL GENERATED ALWAYS AS (status IN ('COMPLETED', 'FAILED', 'CANCELED')) STORED,
    request bytea NOT NULL,
    preview text NOT NULL,
    shots bigint NOT NULL,
    seed numeric(20) NOT NULL,
    strategy int NOT NULL,
    noise boolean NOT NULL,
    metadata bytea,
    min_fidelity float8 NOT NULL,
    timeout_seconds float8 NOT NULL,
    priority int NOT NULL,
    idempotency_key text,
    body_digest bytea NOT NULL,
    last_sequence bigint NOT NULL,
    progress_total int NOT NULL DEFAULT 0,
    progress_completed int NOT NULL DEFAULT 0,
    progress_active int NOT NULL DEFAULT 0,
    plan_ids uuid[] NOT NULL DEFAULT '{}',
    error_code text,
    error_message text,
    result bytea,
    summary bytea,
    cancel_requested boolean NOT NULL DEFAULT false,
    owner text,
    fence bigint NOT NULL DEFAULT 0,
    claims int NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    deadline_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, idempotency_key)
) WITH (fillfactor = 60)
"""
_EXECUTION_EVENTS = """
CREATE TABLE execution_events (
    job_id uuid NOT NULL,
    sequence bigint NOT NULL,
    tenant_id text NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    fence bigint NOT NULL,
    payload bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, sequence)
)
"""
_EXECUTION_RECORDS = """
CREATE TABLE execution_records (
    job_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id text NOT NULL,
    plan_id uuid NOT NULL,
    block_id int NOT NULL,
    parameter_set int NOT NULL,
    slice int NOT NULL,
    node_id text NOT NULL,
    fence bigint NOT NULL,
    fragment_ids text[] NOT NULL,
    record bytea NOT NULL,
    signature bytea NOT NULL,
    PRIMARY KEY (job_id, execution_id)
)
"""
_FRAGMENT_COMMITS = """
CREATE TABLE fragment_commits (
    job_id uuid NOT NULL,
    parameter_set int NOT NULL,
    slice int NOT NULL,
    fragment_id text NOT NULL,
    tenant_id text NOT NULL,
    execution_id uuid NOT NULL,
    fence bigint NOT NULL,
    PRIMARY KEY (job_id, parameter_set, slice, fragment_id)
)
"""
_SHOT_COLUMNS = """
CREATE TABLE shot_columns (
    job_id uuid NOT NULL,
    number bigint NOT NULL,
    tenant_id text NOT NULL,
    bits bytea NOT NULL,
    PRIMARY KEY (job_id, number)
)
"""
_OUTBOX = """
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    tenant_id text NOT NULL,
    subject text NOT NULL,
    payload bytea NOT NULL
)
"""


def upgrade() -> None:
    """Creates the tables."""
    for statement in (
        _WORKFLOW_RUNS,
        _EXECUTION_EVENTS,
        _EXECUTION_RECORDS,
        _FRAGMENT_COMMITS,
        _SHOT_COLUMNS,
        _OUTBOX,
        "CREATE INDEX workflow_runs_newest ON workflow_runs (tenant_id, created_at DESC, job_id DESC)",
        "CREATE INDEX workflow_runs_due ON workflow_runs (lease_until) WHERE NOT final",
        *mutable("runtime", "workflow_runs"),
        *mutable("runtime", "outbox"),
        *append_only("runtime", "execution_events"),
        *append_only("runtime", "execution_records"),
        *append_only("runtime", "fragment_commits"),
        *append_only("runtime", "shot_columns"),
        *transitions("runtime", "workflow_runs", "status", JOB_EDGES),
    ):
        op.execute(statement)


def downgrade() -> None:
    """Is not offered: history is append-only."""
    raise NotImplementedError("jobs are never thrown away by a downgrade")
