"""Documents as JSONB in the schema of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from qmesh_kit.documents.collection import Collection, Document, Kind, check_document
from qmesh_kit.documents.store import Span, check_question
from qmesh_kit.errors import ServiceError
from qmesh_kit.sql.ddl import mutable

_DEADLINE = 10.0


def tables(service: str, collections: Sequence[Collection]) -> list[str]:
    """Statements for a migration: a table for each collection, with an index for each declared field."""
    statements = []
    for collection in collections:
        name = f"{service}.{collection.name}"
        statements.append(
            f"CREATE TABLE {name} (key text PRIMARY KEY, seq bigint NOT NULL, body jsonb NOT NULL)"
        )
        statements.append(f"CREATE INDEX {collection.name}_by_seq ON {name} (seq)")
        statements += [
            f"CREATE INDEX {collection.name}_by_{field} ON {name} ({_expression(field, kind)})"
            for field, kind in collection.fields.items()
        ]
        statements += mutable(service, collection.name)
    return statements


def _expression(field: str, kind: Kind) -> str:
    text = f"(body->>'{field}')"
    return f"({text}::bigint)" if kind is Kind.INTEGER else f'({text} COLLATE "C")'


class PostgresDocuments:
    """The store over a pool of the service whose schema has the tables."""

    kind = "postgres"

    def __init__(self, pool: AsyncConnectionPool, service: str) -> None:
        """Takes the pool and the schema."""
        self._pool = pool
        self._schema = service

    async def _run(self, statement: str, parameters: Mapping[str, Any]) -> list[TupleRow]:
        try:
            async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), parameters)
                return await cursor.fetchall()
        except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
            raise ServiceError("UNAVAILABLE", "the database does not answer", retry_after=1.0) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ServiceError("PERMISSION_DENIED", "the database refuses its documents") from error

    def _table(self, collection: Collection) -> str:
        return f"{self._schema}.{collection.name}"

    async def put(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Writes documents in one statement."""
        newest: dict[str, Document] = {}
        for document in documents:
            check_document(collection, document)
            held = newest.get(document.key)
            if held is None or held.seq < document.seq:
                newest[document.key] = document
        ordered = [newest[key] for key in sorted(newest)]  # two batches cannot deadlock
        rows = await self._run(
            f"""
            INSERT INTO {self._table(collection)} AS held (key, seq, body)
            SELECT * FROM unnest(%(key)s::text[], %(seq)s::bigint[], %(body)s::jsonb[])
            ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, body = excluded.body WHERE held.seq < excluded.seq
            RETURNING key
            """,  # noqa: S608 - a declared collection's name
            {
                "key": [document.key for document in ordered],
                "seq": [document.seq for document in ordered],
                "body": [orjson.dumps(document.body).decode() for document in ordered],
            },
        )
        return len(rows)

    async def get(self, collection: Collection, key: str) -> Document | None:
        """The document of a key."""
        rows = await self._run(
            f"SELECT key, seq, body FROM {self._table(collection)} WHERE key = %(key)s",  # noqa: S608 - as above
            {"key": key.replace("\0", "\ufffd")},
        )
        return Document(*rows[0]) if rows else None

    async def find(
        self,
        collection: Collection,
        equal: Mapping[str, str | int] | None = None,
        span: Span | None = None,
        *,
        limit: int = 100,
    ) -> list[Document]:
        """Documents with these values, highest seq first."""
        equal = equal or {}
        check_question(collection, equal, span, limit)
        conditions, parameters = ["true"], dict[str, Any](limit=limit)
        for field, value in equal.items():
            conditions.append(f"{_expression(field, collection.fields[field])} = %(equal_{field})s")
            parameters[f"equal_{field}"] = value
        if span is not None:
            expression = _expression(span.field, collection.fields[span.field])
            for name, sign, end in (("low", ">=", span.low), ("high", "<", span.high)):
                if end is not None:
                    conditions.append(f"{expression} {sign} %({name})s")
                    parameters[name] = end
        rows = await self._run(
            f"""
            SELECT key, seq, body FROM {self._table(collection)} WHERE {" AND ".join(conditions)}
            ORDER BY seq DESC, key LIMIT %(limit)s
            """,  # noqa: S608 - declared names only, values are parameters
            parameters,
        )
        return [Document(*row) for row in rows]

    async def delete(self, collection: Collection, key: str) -> bool:
        """Removes one document."""
        rows = await self._run(
            f"DELETE FROM {self._table(collection)} WHERE key = %(key)s RETURNING key",  # noqa: S608 - as above
            {"key": key.replace("\0", "\ufffd")},
        )
        return bool(rows)

    async def trim(self, collection: Collection) -> int:
        """Removes the oldest beyond what the collection keeps."""
        if collection.keep is None:
            return 0
        table = self._table(collection)
        rows = await self._run(
            f"""
            DELETE FROM {table} WHERE seq <= (
                SELECT seq FROM {table} ORDER BY seq DESC OFFSET %(keep)s LIMIT 1
            ) RETURNING key
            """,  # noqa: S608 - as above
            {"keep": collection.keep},
        )
        return len(rows)
