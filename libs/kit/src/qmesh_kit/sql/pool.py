"""Connection pools: autocommit connections with timeouts, under the service's writer role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from qmesh_kit.errors import ServiceError, register_translator
from qmesh_kit.settings import PostgresSection

_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def _translate(error: BaseException) -> ServiceError | None:
    if isinstance(error, PoolTimeout | psycopg.OperationalError):
        return ServiceError("UNAVAILABLE", "the database does not answer", retry_after=1.0)
    return None


register_translator(_translate)


class DurabilityError(Exception):
    """The database is set so that it may forget what it acknowledged."""


def writer_role(service: str) -> str:
    """Role under which a service writes its own schema."""
    return f"qmesh_{service}_writer"


@asynccontextmanager
async def open_pool(settings: PostgresSection, service: str) -> AsyncIterator[AsyncConnectionPool]:
    """A pool, open and checked.

    Raises:
        DurabilityError: fsync, synchronous_commit or full_page_writes is off.
        psycopg.OperationalError: the database cannot be reached.
    """
    options = (
        f"-c statement_timeout={settings.statement_timeout * 1000:.0f} "
        f"-c lock_timeout={settings.lock_timeout * 1000:.0f} "
        f"-c idle_in_transaction_session_timeout={settings.idle_in_transaction_timeout * 1000:.0f}"
    )
    conninfo = make_conninfo(
        settings.url.get_secret_value(),
        options=options,
        application_name=f"qmesh-{service}",
        connect_timeout=max(1, round(settings.connect_timeout)),
    )

    async def configure(connection: AsyncConnection) -> None:
        await connection.set_autocommit(True)
        if settings.migrate_on_start or settings.writer_role:
            await connection.execute(f"SET ROLE {writer_role(service)}".encode())

    pool = AsyncConnectionPool(
        conninfo,
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        timeout=settings.acquire_timeout,
        configure=configure,
        check=AsyncConnectionPool.check_connection if settings.pool_min == 0 else None,
        reconnect_timeout=3600,
        open=False,
        name=service,
    )
    await pool.open(wait=True, timeout=settings.connect_timeout)
    try:
        await _check_durable(pool)
        yield pool
    finally:
        await pool.close()


async def _check_durable(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        for name in _DURABLE:
            row = await (await connection.execute(f"SHOW {name}".encode())).fetchone()
            if row is None or row[0] == "off":
                raise DurabilityError(f"the database has {name} = off")


def refuse_nul(value: str) -> str:
    """The text itself.

    Raises:
        ServiceError: INVALID_ARGUMENT, for text with NUL, which PostgreSQL cannot store.
    """
    if "\0" in value:
        raise ServiceError("INVALID_ARGUMENT", "text must not contain NUL")
    return value
