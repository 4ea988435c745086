"""Projections of peers and topologies: their outbox, and their tables where no other document store is set."""

from alembic import op

from qmesh_kit.documents import PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS
from qmesh_kit.documents.outbox import outbox_table
from qmesh_kit.documents.postgres import tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates the tables."""
    for statement in (
        *outbox_table("registry"),
        *tables("registry", (PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS)),
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drops the tables; they hold projections only."""
    for name in ("document_outbox", "peer_capabilities", "topology_projections"):
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP SEQUENCE document_seq")
