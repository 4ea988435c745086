"""Plans."""

from alembic import op

from qmesh_kit.sql.ddl import append_only

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the table."""
    op.execute("""
        CREATE TABLE execution_plans (
            plan_id uuid PRIMARY KEY,
            tenant_id text NOT NULL,
            snapshot_id text NOT NULL,
            plan bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute("CREATE INDEX execution_plans_newest ON execution_plans (tenant_id, created_at DESC)")
    for statement in append_only("planner", "execution_plans"):
        op.execute(statement)


def downgrade() -> None:
    """Is not offered: plans are cited for ever."""
    raise NotImplementedError("plans are never thrown away by a downgrade")
