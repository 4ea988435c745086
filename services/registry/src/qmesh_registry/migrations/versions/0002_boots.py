"""Boots of the registry are counted: versions of snapshots go up over restarts."""

from alembic import op

from qmesh_kit.sql.pool import writer_role

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the sequence."""
    op.execute("CREATE SEQUENCE boots")
    op.execute(f"GRANT USAGE ON SEQUENCE registry.boots TO {writer_role('registry')}")


def downgrade() -> None:
    """Is not offered: versions would go down."""
    raise NotImplementedError("versions of snapshots never go down")
