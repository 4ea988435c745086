"""Reservations, their history, and what each node has."""

from alembic import op

from qmesh_kit.sql.ddl import append_only, mutable, transitions
from qmesh_model.lifecycle import RESERVATION_EDGES

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    op.execute("""
        CREATE TABLE nodes (
            node_id text PRIMARY KEY,
            tenant_id text NOT NULL DEFAULT '',
            epoch bigint NOT NULL,
            capacity_qubits int NOT NULL,
            capacity_bytes bigint NOT NULL,
            reserved_qubits int NOT NULL DEFAULT 0,
            reserved_bytes bigint NOT NULL DEFAULT 0,
            CHECK (reserved_qubits >= 0 AND reserved_bytes >= 0)
        )""")
    op.execute("""
        CREATE TABLE reservations (
            reservation_id uuid PRIMARY KEY,
            tenant_id text NOT NULL,
            job_id text NOT NULL,
            plan_id text NOT NULL,
            node_id text NOT NULL REFERENCES nodes,
            state text NOT NULL,
            fence bigint NOT NULL,
            line bytea NOT NULL,
            data_qubits int NOT NULL,
            state_bytes bigint NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL
        )""")
    op.execute("CREATE INDEX reservations_live ON reservations (job_id) WHERE state = 'COMMITTED'")
    op.execute("CREATE INDEX reservations_expiry ON reservations (expires_at) WHERE state = 'COMMITTED'")
    op.execute("""
        CREATE TABLE reservation_events (
            reservation_id uuid NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY,
            tenant_id text NOT NULL,
            state text NOT NULL,
            reason text NOT NULL DEFAULT '',
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (reservation_id, number)
        )""")
    for statement in (
        *mutable("reservation", "nodes"),
        *mutable("reservation", "reservations"),
        *append_only("reservation", "reservation_events"),
        *transitions("reservation", "reservations", "state", RESERVATION_EDGES),
    ):
        op.execute(statement)


def downgrade() -> None:
    """Is not offered: history is append-only."""
    raise NotImplementedError("reservations are never thrown away by a downgrade")
