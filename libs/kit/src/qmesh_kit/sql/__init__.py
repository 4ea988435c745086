"""PostgreSQL: pools, group commit, migrations."""

from qmesh_kit.sql.migrate import migrate
from qmesh_kit.sql.pool import open_pool
from qmesh_kit.sql.writer import GroupWriter

__all__ = ["GroupWriter", "migrate", "open_pool"]
