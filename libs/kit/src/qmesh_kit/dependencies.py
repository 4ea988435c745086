"""What a service cannot work without: its database with its schema, and the bus; watched while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, override
from urllib.parse import urlsplit

import structlog

from qmesh_kit.probes import Readiness
from qmesh_kit.settings import BaseMeshSettings, NatsSection, PostgresSection

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = structlog.get_logger()

_PERIOD = 2.0
_GREETING = b"INFO "
_MISSES = 2


class AbsentError(Exception):
    """The dependency cannot be used now; says why."""


class Dependency(Protocol):
    """One thing that a service needs.

    Attributes:
        name: word for people.
        seen: it was there once.
    """

    name: str
    seen: bool

    async def check(self) -> None:
        """Returns when it is there.

        Raises:
            AbsentError: it is not.
        """

    async def close(self) -> None:
        """Lets go of it."""


def of(service: str, settings: BaseMeshSettings) -> list[Dependency]:
    """What the settings of a service say that it needs."""
    found: list[Dependency] = []
    if settings.postgres is not None:
        found.append(Database(service, settings.postgres))
    if settings.nats is not None:
        found.append(MessageBus(settings.nats))
    return found


class Database(Dependency):
    """PostgreSQL, with the schema of a service at this code's revision or a newer one; over a connection of its own."""

    def __init__(self, service: str, settings: PostgresSection) -> None:
        """Takes the service whose schema is meant."""
        from qmesh_kit.sql.migrate import head_of, locate

        self.name = "postgres"
        self.seen = False
        self._service = service
        self._settings = settings
        self._head = head_of(locate(service))
        self._connection: AsyncConnection | None = None

    @override
    async def check(self) -> None:
        import psycopg

        limit = self._settings.connect_timeout
        try:
            async with asyncio.timeout(limit):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._settings.url.get_secret_value(),
                        autocommit=True,
                        application_name=f"qmesh-{self._service}-readiness",
                        connect_timeout=max(1, round(limit)),
                    )
                try:
                    revision = await self._revision(self._connection)
                except psycopg.errors.InsufficientPrivilege:
                    revision = None  # the last step of a first migration lets writers in
        except (psycopg.Error, OSError, TimeoutError) as error:
            await self.close()
            raise AbsentError(_last_line(error) or f"no answer within {limit:g} s") from None
        if not self._settings.migrate_on_start and (revision is None or revision < self._head):
            raise AbsentError(
                f"schema {self._service} is at revision {revision or 'none'} and should be at {self._head}: "
                "waiting for its migration"
            )

    async def _revision(self, connection: AsyncConnection) -> str | None:
        table = f"{self._service}.alembic_version"
        row = await (await connection.execute("SELECT to_regclass(%s)", (table,))).fetchone()
        if row is None or row[0] is None:
            return None
        if self._settings.writer_role:
            from qmesh_kit.sql.pool import writer_role

            await connection.execute(f"SET ROLE {writer_role(self._service)}".encode())
        row = await (await connection.execute(f"SELECT version_num FROM {table}".encode())).fetchone()  # noqa: S608 - our own services' names
        return None if row is None else str(row[0])

    @override
    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class MessageBus(Dependency):
    """A nats-server that greets; whether it lets us in is the bus's own business."""

    def __init__(self, settings: NatsSection) -> None:
        """Takes where it is."""
        self.name = "nats"
        self.seen = False
        self._url = settings.url
        self._limit = settings.connect_timeout

    @override
    async def check(self) -> None:
        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or 4222
        try:
            async with asyncio.timeout(self._limit):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    greeting = await reader.read(len(_GREETING))
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            raise AbsentError(f"{host}:{port} does not answer within {self._limit:g} s") from None
        except OSError as error:
            raise AbsentError(f"{host}:{port}: {error.strerror or error}") from None
        if greeting != _GREETING:
            raise AbsentError(f"{host}:{port} is no nats-server")

    @override
    async def close(self) -> None:
        return


async def watch(needs: Sequence[Dependency], readiness: Readiness, stopping: asyncio.Event) -> None:
    """Tells readiness what is there, until the service stops; one miss of what was there is no loss yet."""
    misses = dict.fromkeys((need.name for need in needs), 0)
    while not stopping.is_set():
        for need in needs:
            try:
                await need.check()
            except AbsentError as error:
                misses[need.name] += 1
                if not need.seen or misses[need.name] >= _MISSES:
                    if need.name not in readiness.missing:
                        log.warning("a dependency is missing", dependency=need.name, error=str(error))
                    readiness.lost(need.name, str(error))
            else:
                if need.name in readiness.missing:
                    log.info("a dependency is there", dependency=need.name)
                misses[need.name], need.seen = 0, True
                readiness.found(need.name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PERIOD if all(need.seen for need in needs) else _PERIOD / 4):
                await stopping.wait()


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else ""
