"""What every service's `migrations/env.py` runs."""

from __future__ import annotations

import psycopg
from alembic import context
from sqlalchemy import create_engine, pool

from qmesh_kit.sql.migrate import OWNER, READER
from qmesh_kit.sql.pool import writer_role


def run() -> None:
    """Applies migrations under the owner role, one service at a time."""
    config = context.config
    service: str = config.attributes["service"]
    url: str = config.attributes["url"]
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=pool.NullPool
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtext(%s))", (f"qmesh-migrate-{service}",)
        )
        connection.exec_driver_sql(f"SET LOCAL ROLE {OWNER}")
        connection.exec_driver_sql(f"SET LOCAL search_path TO {service}")
        context.configure(connection=connection, version_table_schema=service, transactional_ddl=True)
        context.run_migrations()
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {service} TO {writer_role(service)}, {READER}")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {service} TO {READER}")
        connection.exec_driver_sql(f"GRANT SELECT ON {service}.alembic_version TO {writer_role(service)}")
        connection.exec_driver_sql(
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {service} TO {writer_role(service)}"
        )
