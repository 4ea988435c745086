"""Precision of a job's amplitudes (qmesh.fabric.v1.Precision); double for the jobs that there were."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column; a runtime of the release before leaves it at its default."""
    op.execute("ALTER TABLE workflow_runs ADD COLUMN precision int NOT NULL DEFAULT 1")


def downgrade() -> None:
    """Is not offered: history is append-only."""
    raise NotImplementedError("jobs are never thrown away by a downgrade")
