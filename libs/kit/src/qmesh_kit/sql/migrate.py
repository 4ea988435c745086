"""Alembic for one schema: roles, advisory lock, version table inside the schema, nothing to do at head."""

from __future__ import annotations

import asyncio
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
    url = (settings.migration_url or settings.url).get_secret_value()
    await asyncio.to_thread(_migrate, url, service, location)


def _migrate(url: str, service: str, location: Path) -> None:
    head = head_of(location)
    with psycopg.connect(url, autocommit=True) as connection:
        found = _version(connection, service)
        if found == head:
            return
        if found is not None and found > head:
            raise MigrationError(
                f"schema {service} is at revision {found}, this code knows {head}: deploy newer code"
            )
        _roles(connection, service)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(location))
    config.attributes["url"] = url
    config.attributes["service"] = service
    command.upgrade(config, "head")


def _version(connection: psycopg.Connection, service: str) -> str | None:
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
