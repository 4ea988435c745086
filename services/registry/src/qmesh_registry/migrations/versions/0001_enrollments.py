"""Enrollments with their history, peers as last seen, snapshots that plans cite."""

from alembic import op

from qmesh_kit.sql.ddl import append_only, mutable

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    op.execute("""
        CREATE TABLE enrollments (
            enrollment_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            tenant_id text NOT NULL,
            peer_id text NOT NULL UNIQUE,
            owner text NOT NULL,
            tier int NOT NULL,
            status int NOT NULL,
            capability_summary text NOT NULL DEFAULT '',
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute("""
        CREATE TABLE enrollment_events (
            peer_id text NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY,
            tenant_id text NOT NULL,
            status int NOT NULL,
            tier int NOT NULL,
            actor text NOT NULL,
            reason text NOT NULL DEFAULT '',
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (peer_id, number)
        )""")
    op.execute("""
        CREATE TABLE peers (
            peer_id text PRIMARY KEY,
            tenant_id text NOT NULL DEFAULT '',
            advert bytea NOT NULL,
            first_seen_at timestamptz NOT NULL DEFAULT now(),
            last_seen_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute("""
        CREATE TABLE snapshots (
            snapshot_id text PRIMARY KEY,
            tenant_id text NOT NULL DEFAULT '',
            version bigint NOT NULL,
            made_at timestamptz NOT NULL DEFAULT now(),
            body bytea NOT NULL
        )""")
    for statement in (
        *mutable("registry", "enrollments"),
        *append_only("registry", "enrollment_events"),
        *mutable("registry", "peers"),
        *append_only("registry", "snapshots"),
    ):
        op.execute(statement)


def downgrade() -> None:
    """Is not offered: history is append-only."""
    raise NotImplementedError("enrollments are never thrown away by a downgrade")
