"""Documents on their way to their store: entered with the data that they project, delivered when the store is there.

One row for each document, so that a store that is away for long costs a row a document and not a row a change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from qmesh_kit.documents.collection import Collection, Document, check_document
from qmesh_kit.documents.store import DocumentStore
from qmesh_kit.errors import ServiceError
from qmesh_kit.metrics import Metrics
from qmesh_kit.sql.ddl import mutable

log = structlog.get_logger()

_DEADLINE = 10.0
_BATCH = 100
_PERIOD = 2.0
_LONGEST_PAUSE = 15.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One document to be delivered; its sequence is given when it is entered."""

    collection: Collection
    key: str
    body: dict[str, Any]


def outbox_table(service: str) -> list[str]:
    """Statements for a migration.

    The sequence begins at the microseconds of now: a database that was made anew outranks what the store still holds.
    """
    start = int(time.time() * 1e6)
    return [
        f"CREATE SEQUENCE {service}.document_seq START WITH {start}",
        f"""
        CREATE TABLE {service}.document_outbox (
            collection text NOT NULL,
            key text NOT NULL,
            seq bigint NOT NULL,
            body jsonb NOT NULL,
            entered_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (collection, key)
        )""",
        f"CREATE INDEX document_outbox_by_seq ON {service}.document_outbox (seq)",
        *mutable(service, "document_outbox"),
    ]


class Outbox:
    """The outbox of one service."""

    def __init__(self, service: str) -> None:
        """Takes the service whose schema has the table."""
        self._table = f"{service}.document_outbox"
        self._sequence = f"{service}.document_seq"

    async def enter(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        """Enters documents on a connection, within its transaction if it has one; a newer one takes an older one's place.

        Raises:
            ServiceError: INVALID_ARGUMENT, no store could keep one of them; none was entered.
        """
        if not entries:
            return
        newest = {(entry.collection.name, entry.key): entry for entry in entries}
        for entry in newest.values():
            check_document(entry.collection, Document(entry.key, 0, entry.body))
        ordered = [newest[name] for name in sorted(newest)]
        await connection.execute(
            f"""
            INSERT INTO {self._table} (collection, key, seq, body)
            SELECT c, k, nextval('{self._sequence}'), b
            FROM unnest(%(collection)s::text[], %(key)s::text[], %(body)s::jsonb[]) AS entry (c, k, b)
            ON CONFLICT (collection, key) DO UPDATE SET seq = excluded.seq, body = excluded.body
            """.encode(),  # noqa: S608 - our own names
            {
                "collection": [entry.collection.name for entry in ordered],
                "key": [entry.key for entry in ordered],
                "body": [orjson.dumps(entry.body).decode() for entry in ordered],
            },
        )

    async def oldest(self, connection: AsyncConnection, limit: int) -> list[tuple[str, Document]]:
        """(collection, document) of the first in line."""
        cursor = await connection.execute(
            f"SELECT collection, key, seq, body FROM {self._table} ORDER BY seq LIMIT %s".encode(),  # noqa: S608 - as above
            (limit,),
        )
        return [(row[0], Document(row[1], row[2], row[3])) for row in await cursor.fetchall()]

    async def delivered(self, connection: AsyncConnection, documents: Sequence[tuple[str, Document]]) -> None:
        """Forgets documents, unless a newer one has taken the place meanwhile."""
        await connection.execute(
            f"""
            DELETE FROM {self._table} AS o USING unnest(%(collection)s::text[], %(key)s::text[], %(seq)s::bigint[])
                AS d (c, k, s)
            WHERE o.collection = d.c AND o.key = d.k AND o.seq = d.s
            """.encode(),  # noqa: S608 - as above
            {
                "collection": [name for name, _ in documents],
                "key": [document.key for _, document in documents],
                "seq": [document.seq for _, document in documents],
            },
        )

    async def waiting(self, connection: AsyncConnection) -> tuple[int, float]:
        """How many wait, and for how many seconds the first of them has."""
        cursor = await connection.execute(
            f"""
            SELECT count(*), coalesce(extract(epoch FROM now() - min(entered_at)), 0)::float8 FROM {self._table}
            """.encode()  # noqa: S608 - as above
        )
        row = await cursor.fetchone()
        return (int(row[0]), float(row[1])) if row is not None else (0, 0.0)

    async def trim(self, connection: AsyncConnection, collection: Collection) -> None:
        """Forgets what the store would throw away at once."""
        if collection.keep is not None:
            await connection.execute(
                f"""
                DELETE FROM {self._table} WHERE collection = %(name)s AND seq <= (
                    SELECT seq FROM {self._table} WHERE collection = %(name)s
                    ORDER BY seq DESC OFFSET %(keep)s LIMIT 1)
                """.encode(),  # noqa: S608 - as above
                {"name": collection.name, "keep": collection.keep},
            )


class Relay:
    """Delivers a service's outbox to its store, for ever; a store that is away is told once, and tried again."""

    def __init__(
        self,
        outbox: Outbox,
        pool: AsyncConnectionPool,
        store: DocumentStore,
        collections: Sequence[Collection],
        metrics: Metrics,
        tell: Callable[[bool], Awaitable[None]] | None = None,
    ) -> None:
        """Takes the two ends, and who is told whether the store is there."""
        self._outbox = outbox
        self._pool = pool
        self._store = store
        self._collections = {collection.name: collection for collection in collections}
        self._waiting = metrics.gauge("qmesh_documents_waiting", "Documents that wait for their store")
        self._age = metrics.gauge("qmesh_documents_waiting_seconds", "How long the first of them has waited")
        self._reachable = metrics.gauge(
            "qmesh_documents_reachable", "1 when the store took the last documents"
        )
        self._delivered = metrics.counter("qmesh_documents_delivered_total", "Documents that the store took")
        self._failures = metrics.counter(
            "qmesh_documents_failures_total", "Attempts that the store did not take"
        )
        self._trouble: str | None = None
        self._tell = tell

    async def run(self, stopping: asyncio.Event) -> None:
        """Delivers until the service stops; what comes late is in the outbox for the next start."""
        pause = _PERIOD
        while not stopping.is_set():
            try:
                await self.step()
            except ServiceError as error:
                self._failures.inc()
                pause = min(pause * 2, _LONGEST_PAUSE)
                self._reachable.set(0)
                if self._trouble != error.message:
                    log.warning("documents wait", store=self._store.kind, error=error.message)
                self._trouble = error.message
            else:
                if self._trouble is not None:
                    log.info("documents are delivered again", store=self._store.kind)
                pause, self._trouble = _PERIOD, None
                self._reachable.set(1)
            if self._tell is not None:
                await self._tell(self._trouble is None)
            try:
                async with asyncio.timeout(pause):
                    await stopping.wait()
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Delivers everything that waits now.

        Raises:
            ServiceError: the store or the database cannot be used; what was not delivered waits.
        """
        try:
            async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
                for collection in self._collections.values():
                    await self._outbox.trim(connection, collection)
                await self._measure(connection)
            while await self._batch():
                pass
            async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
                await self._measure(connection)
        except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
            raise ServiceError("UNAVAILABLE", "the database does not answer", retry_after=1.0) from error

    async def _measure(self, connection: AsyncConnection) -> None:
        count, age = await self._outbox.waiting(connection)
        self._waiting.set(count)
        self._age.set(age)

    async def _batch(self) -> bool:
        """Delivers one batch; whether there may be more. No connection is held while the store works."""
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            found = await self._outbox.oldest(connection, _BATCH)
        if not found:
            return False
        for name, collection in self._collections.items():
            documents = [document for where, document in found if where == name]
            if documents:
                await self._store.put(collection, documents)
                await self._store.trim(collection)
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            await self._outbox.delivered(connection, found)
        self._delivered.inc(len(found))
        return len(found) == _BATCH
