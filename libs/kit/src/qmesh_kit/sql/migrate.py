"""Alembic for one schema: roles, advisory lock, version table inside the schema, nothing to do at head."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path

import psycopg

from qmesh_kit.settings import PostgresSection
from qmesh_kit.sql.pool import writer_role

_REVISION = re.compile(r"(\d{4})_[a-z0-9_]+\.py")
OWNER, READER = "qmesh_owner", "qmesh_reader"
_ROLES_LOCK = 7_366_001


class MigrationError(Exception):
    """The schema cannot be brought to this version."""


def locate(service: str) -> Path:
    """The folder of a service's migrations.

    Raises:
        MigrationError: the service has none, or is not installed here.
    """
    found = importlib.util.find_spec(f"qmesh_{service}")
    folder = Path(found.origin).parent / "migrations" if found is not None and found.origin else Path()
    if not (folder / "versions").is_dir():
        raise MigrationError(f"there are no migrations of {service} here")
    return folder


def head_of(location: Path) -> str:
    """Newest revision in a folder of migrations, by file name."""
    found = sorted(
        m[1] for path in (location / "versions").iterdir() if (m := _REVISION.fullmatch(path.name))
    )
    if not found:
        raise MigrationError(f"there are no migrations in {location.name}")
    return found[-1]


async def migrate(settings: PostgresSection, service: str, location: Path) -> None:
    """Brings the schema of a service to the newest revision.

    Raises:
        MigrationError: the schema is newer than this code.
    """
    found, head = await asyncio.to_thread(bring, settings, service, location), head_of(location)
    if found > head:
        raise MigrationError(
            f"schema {service} is at revision {found}, this code knows {head}: deploy newer code"
        )


def bring(settings: PostgresSection, service: str, location: Path) -> str:
    """Brings the schema of a service to the newest revision of this code, leaves a newer one alone; its revision after that.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
    """
    url = (settings.migration_url or settings.url).get_secret_value()
    head = head_of(location)
    with psycopg.connect(url, autocommit=True) as connection:
        found = revision_of(connection, service)
        if found is not None and found >= head:
            return found
        _roles(connection, service)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(location))
    config.attributes["url"] = url
    config.attributes["service"] = service
    command.upgrade(config, "head")
    return head


def revision_of(connection: psycopg.Connection, service: str) -> str | None:
    """Revision of a schema; None before its first migration."""
    exists = connection.execute("SELECT to_regclass(%s)", (f"{service}.alembic_version",)).fetchone()
    if exists is None or exists[0] is None:
        return None
    row = connection.execute(f"SELECT version_num FROM {service}.alembic_version".encode()).fetchone()  # noqa: S608 - our own services' names
    return None if row is None else str(row[0])


def _roles(connection: psycopg.Connection, service: str) -> None:
    """Makes the roles; several services may start at once."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ROLES_LOCK,))
        for role in (OWNER, READER, writer_role(service)):
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            if known is None:
                connection.execute(f"CREATE ROLE {role} NOLOGIN".encode())
        connection.execute(f"GRANT {OWNER}, {writer_role(service)} TO CURRENT_USER".encode())
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {service} AUTHORIZATION {OWNER}".encode())
