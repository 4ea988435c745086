"""Enrollments, peers and cited snapshots in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_kit.documents import Entry, Outbox
from qmesh_kit.errors import ServiceError
from qmesh_registry.ports import Enrolled

OUTBOX = Outbox("registry")
_DEADLINE = 10.0


def _away() -> ServiceError:
    return ServiceError("UNAVAILABLE", "the database does not answer", retry_after=1.0)


class PostgresRegistry:
    """The store."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes the pool."""
        self._pool = pool

    async def _all(self, statement: str, parameters: dict[str, Any] | None = None) -> list[TupleRow]:
        try:
            async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), parameters)
                return await cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
            raise _away() from error

    async def standings(self) -> list[Enrolled]:
        """All enrollments."""
        rows = await self._all("SELECT peer_id, tenant_id, owner, tier, status FROM registry.enrollments")
        return [
            Enrolled(
                peer,
                tenant,
                owner,
                enroll.TrustTier.ValueType(tier),
                enroll.EnrollmentStatus.ValueType(status),
            )
            for peer, tenant, owner, tier, status in rows
        ]

    async def set_standing(self, standing: Enrolled, actor: str, reason: str, summary: str = "") -> None:
        """Makes or changes an enrollment, with an entry in its history."""
        await self._all(
            """
            WITH changed AS (
                INSERT INTO registry.enrollments (tenant_id, peer_id, owner, tier, status, capability_summary)
                VALUES (%(tenant)s, %(peer)s, %(owner)s, %(tier)s, %(status)s, %(summary)s)
                ON CONFLICT (peer_id) DO UPDATE SET tier = excluded.tier, status = excluded.status,
                    owner = excluded.owner, updated_at = now()
                RETURNING peer_id
            )
            INSERT INTO registry.enrollment_events (peer_id, tenant_id, status, tier, actor, reason)
            SELECT peer_id, %(tenant)s, %(status)s, %(tier)s, %(actor)s, %(reason)s FROM changed
            """,
            {
                "tenant": standing.tenant_id,
                "peer": standing.peer_id,
                "owner": standing.owner,
                "tier": standing.tier,
                "status": standing.status,
                "summary": summary,
                "actor": actor,
                "reason": reason,
            },
        )

    async def enrollments(self, peer_id: str) -> list[pb.Enrollment]:
        """Enrollments with their history."""
        rows = await self._all(
            """
            SELECT e.enrollment_id, e.peer_id, e.owner, e.tier, e.status, e.capability_summary, e.created_at,
                e.updated_at, p.last_seen_at
            FROM registry.enrollments e LEFT JOIN registry.peers p USING (peer_id)
            WHERE %(peer)s = '' OR e.peer_id = %(peer)s ORDER BY e.created_at DESC
            """,
            {"peer": peer_id},
        )
        changes = await self._all(
            """
            SELECT peer_id, status, tier, actor, reason, at FROM registry.enrollment_events
            WHERE %(peer)s = '' OR peer_id = %(peer)s ORDER BY peer_id, number
            """,
            {"peer": peer_id},
        )
        found = []
        for row in rows:
            message = pb.Enrollment(
                enrollment_id=str(row[0]),
                peer_id=row[1],
                owner=row[2],
                tier=enroll.TrustTier.ValueType(row[3]),
                status=enroll.EnrollmentStatus.ValueType(row[4]),
                capability_summary=row[5],
            )
            message.created_at.FromDatetime(row[6])
            message.updated_at.FromDatetime(row[7])
            if row[8] is not None:
                message.last_seen_at.FromDatetime(row[8])
            for change in changes:
                if change[0] == row[1]:
                    entry = message.history.add(
                        status=change[1], tier=change[2], actor=change[3], reason=change[4]
                    )
                    entry.at.FromDatetime(change[5])
            found.append(message)
        return found

    async def save_peers(self, adverts: Mapping[str, bytes], entries: Sequence[Entry] = ()) -> None:
        """Peers as last seen, and documents to be delivered: both or neither."""
        peers = sorted(adverts)
        try:
            async with (
                asyncio.timeout(_DEADLINE),
                self._pool.connection() as connection,
                connection.transaction(),
            ):
                await connection.execute(
                    b"""
                    INSERT INTO registry.peers (peer_id, advert)
                    SELECT * FROM unnest(%(peer)s::text[], %(advert)s::bytea[])
                    ON CONFLICT (peer_id) DO UPDATE SET advert = excluded.advert, last_seen_at = now()
                    """,
                    {"peer": peers, "advert": [adverts[p] for p in peers]},
                )
                await OUTBOX.enter(connection, entries)
        except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
            raise _away() from error

    async def peers(self) -> list[tuple[str, bytes, float, float]]:
        """(peer id, advertisement, first seen, last seen)."""
        rows = await self._all("SELECT peer_id, advert, first_seen_at, last_seen_at FROM registry.peers")
        return [(r[0], bytes(r[1]), r[2].timestamp(), r[3].timestamp()) for r in rows]

    async def pin(self, snapshot: pb.Snapshot) -> None:
        """Stores a snapshot for good."""
        await self._all(
            """
            INSERT INTO registry.snapshots (snapshot_id, version, body) VALUES (%(id)s, %(version)s, %(body)s)
            ON CONFLICT DO NOTHING
            """,
            {"id": snapshot.snapshot_id, "version": snapshot.version, "body": snapshot.SerializeToString()},
        )

    async def pinned(self, snapshot_id: str) -> pb.Snapshot | None:
        """A stored snapshot."""
        rows = await self._all(
            "SELECT body FROM registry.snapshots WHERE snapshot_id = %(id)s", {"id": snapshot_id}
        )
        return pb.Snapshot.FromString(bytes(rows[0][0])) if rows else None

    async def next_boot(self) -> int:
        """A number above all that were given before."""
        rows = await self._all("SELECT nextval('registry.boots')")
        return int(rows[0][0])
