"""Reservations in PostgreSQL: one statement per request, the database's clock.

Rows are locked in one order everywhere, so that requests never deadlock: nodes by id, then reservations by id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from qmesh.reservation.v1 import reservation_pb2 as pb
from qmesh_reservation.ports import Stored

_DEADLINE = 10.0

_CAPACITY = """
INSERT INTO reservation.nodes AS n (node_id, epoch, capacity_qubits, capacity_bytes)
SELECT * FROM unnest(%(node)s::text[], %(epoch)s::bigint[], %(qubits)s::int[], %(bytes)s::bigint[])
ORDER BY 1
ON CONFLICT (node_id) DO UPDATE SET epoch = excluded.epoch, capacity_qubits = excluded.capacity_qubits,
    capacity_bytes = excluded.capacity_bytes
WHERE n.epoch <= excluded.epoch
  AND (n.epoch, n.capacity_qubits, n.capacity_bytes)
      IS DISTINCT FROM (excluded.epoch, excluded.capacity_qubits, excluded.capacity_bytes)
"""
_RESERVE = """
WITH wanted AS (
    SELECT node_id, sum(qubits)::int AS qubits, sum(bytes)::bigint AS bytes
    FROM unnest(%(node)s::text[], %(qubits)s::int[], %(bytes)s::bigint[]) AS w(node_id, qubits, bytes)
    GROUP BY node_id
), locked AS (
    SELECT n.* FROM reservation.nodes n JOIN wanted USING (node_id) ORDER BY n.node_id FOR UPDATE OF n
), lacking AS (
    SELECT w.node_id FROM wanted w LEFT JOIN locked n USING (node_id)
    WHERE n.node_id IS NULL OR n.reserved_qubits + w.qubits > n.capacity_qubits
       OR n.reserved_bytes + w.bytes > n.capacity_bytes
), taken AS (
    UPDATE reservation.nodes n SET reserved_qubits = n.reserved_qubits + w.qubits,
        reserved_bytes = n.reserved_bytes + w.bytes
    FROM wanted w WHERE n.node_id = w.node_id AND NOT EXISTS (SELECT FROM lacking)
), made AS (
    INSERT INTO reservation.reservations (reservation_id, tenant_id, job_id, plan_id, node_id, state, fence, line,
        data_qubits, state_bytes, expires_at)
    SELECT l.id, %(tenant)s, %(job)s, %(plan)s, l.node_id, 'COMMITTED', %(fence)s, l.line, l.qubits, l.bytes,
        now() + make_interval(secs => %(ttl)s)
    FROM unnest(%(id)s::uuid[], %(node)s::text[], %(line)s::bytea[], %(qubits)s::int[], %(bytes)s::bigint[])
      AS l(id, node_id, line, qubits, bytes)
    WHERE NOT EXISTS (SELECT FROM lacking)
    RETURNING reservation_id, expires_at, created_at
), history AS (
    INSERT INTO reservation.reservation_events (reservation_id, tenant_id, state)
    SELECT made.reservation_id, %(tenant)s, s.state
    FROM made, unnest(ARRAY['REQUESTED', 'PREPARED', 'COMMITTED']) WITH ORDINALITY AS s(state, step)
    ORDER BY made.reservation_id, s.step
)
SELECT reservation_id::text, expires_at, created_at FROM made
UNION ALL SELECT node_id, NULL, NULL FROM lacking
"""
_COLUMNS = "reservation_id, tenant_id, job_id, state, fence, line, expires_at, created_at"
_END = f"""
WITH due AS (
    SELECT r.reservation_id, r.node_id FROM reservation.reservations r WHERE r.state = 'COMMITTED' AND {{which}}
), locked AS (
    SELECT n.node_id FROM reservation.nodes n WHERE n.node_id IN (SELECT node_id FROM due)
    ORDER BY n.node_id FOR UPDATE
), held AS (
    SELECT r.reservation_id FROM reservation.reservations r
    WHERE r.reservation_id IN (SELECT reservation_id FROM due) AND (SELECT count(*) FROM locked) > 0
    ORDER BY r.reservation_id FOR UPDATE
), ended AS (
    UPDATE reservation.reservations r SET state = %(state)s
    WHERE r.reservation_id IN (SELECT reservation_id FROM held) AND r.state = 'COMMITTED' AND {{which}}
    RETURNING {_COLUMNS}, node_id, data_qubits, state_bytes
), freed AS (
    UPDATE reservation.nodes n SET reserved_qubits = n.reserved_qubits - f.qubits,
        reserved_bytes = n.reserved_bytes - f.bytes
    FROM (SELECT node_id, sum(data_qubits)::int AS qubits, sum(state_bytes)::bigint AS bytes FROM ended
          GROUP BY node_id) f
    WHERE n.node_id = f.node_id
), history AS (
    INSERT INTO reservation.reservation_events (reservation_id, tenant_id, state, reason)
    SELECT reservation_id, tenant_id, %(state)s, %(reason)s FROM ended
)
SELECT {_COLUMNS} FROM ended
"""  # noqa: S608 - constants only
_OF_JOB = """tenant_id = %(tenant)s AND (%(job)s = '' OR job_id = %(job)s)
    AND (cardinality(%(ids)s::uuid[]) = 0 OR reservation_id = ANY(%(ids)s::uuid[]))"""
_EXPIRE = _END.replace("{which}", "r.expires_at < now()")
_EXTEND = f"""
UPDATE reservation.reservations r SET fence = greatest(fence, %(fence)s),
    expires_at = now() + make_interval(secs => %(ttl)s)
WHERE reservation_id IN (
    SELECT reservation_id FROM reservation.reservations WHERE tenant_id = %(tenant)s AND job_id = %(job)s
      AND state = 'COMMITTED' ORDER BY reservation_id FOR UPDATE
  ) AND state = 'COMMITTED' AND expires_at > now()
RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_GET = f"SELECT {_COLUMNS} FROM reservation.reservations WHERE tenant_id = %(tenant)s AND reservation_id = %(id)s"  # noqa: S608 - constants only
_EVENTS = "SELECT state, at, reason FROM reservation.reservation_events WHERE reservation_id = %(id)s ORDER BY number"
_LIVE = f"""
SELECT {_COLUMNS} FROM reservation.reservations
WHERE state = 'COMMITTED' AND expires_at > now() AND tenant_id = %(tenant)s AND (%(job)s = '' OR job_id = %(job)s)
  AND (%(node)s = '' OR node_id = %(node)s)
ORDER BY created_at DESC LIMIT 1000
"""  # noqa: S608 - constants only
_USAGE = """
SELECT n.node_id, n.reserved_qubits, n.reserved_bytes, n.capacity_qubits,
    (SELECT count(*) FROM reservation.reservations r WHERE r.node_id = n.node_id AND r.state = 'COMMITTED')
FROM reservation.nodes n ORDER BY n.node_id
"""


def _stored(row: TupleRow) -> Stored:
    reservation = pb.Reservation(
        reservation_id=str(row[0]),
        job_id=row[2],
        state=pb.ReservationState.Value(f"RESERVATION_STATE_{row[3]}"),
        fence=row[4],
        line=pb.ReservationLine.FromString(bytes(row[5])),
    )
    reservation.expires_at.FromDatetime(row[6])
    reservation.created_at.FromDatetime(row[7])
    return Stored(reservation, row[1], row[6].timestamp())


class PostgresReservations:
    """The store."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes the pool."""
        self._pool = pool
        self._known: dict[str, tuple[int, int, int]] = {}

    async def reserve(self, request: pb.ReserveRequest, ids: Sequence[str]) -> list[Stored] | str:
        """All lines in one transaction, or the id of a node that has no room now."""
        lines = request.lines
        bodies = [line.SerializeToString() for line in lines]
        wanted = {
            "id": list(ids),
            "node": [line.node_id for line in lines],
            "qubits": [line.data_qubits for line in lines],
            "bytes": [line.state_bytes for line in lines],
            "line": bodies,
            "tenant": request.caller.tenant_id,
            "job": request.job_id,
            "plan": request.plan_id,
            "fence": request.fence,
            "ttl": request.ttl_ms / 1000,
        }
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            await self._capacities(connection, request.capacities)
            cursor = await connection.execute(_RESERVE.encode(), wanted)
            made: dict[str, TupleRow] = {row[0]: row for row in await cursor.fetchall()}
        if made.keys() != set(ids):
            return min(made)
        return [
            _stored(
                (
                    i,
                    wanted["tenant"],
                    request.job_id,
                    "COMMITTED",
                    request.fence,
                    body,
                    made[i][1],
                    made[i][2],
                )
            )
            for i, body in zip(ids, bodies, strict=True)
        ]

    async def _capacities(self, connection: Any, capacities: Sequence[pb.NodeCapacity]) -> None:
        """Takes newer capacities over; what this replica wrote before is not written again."""
        new = [c for c in capacities if self._known.get(c.node_id) != (c.epoch, c.data_qubits, c.state_bytes)]
        if not new:
            return
        await connection.execute(
            _CAPACITY.encode(),
            {
                "node": [c.node_id for c in new],
                "epoch": [c.epoch for c in new],
                "qubits": [c.data_qubits for c in new],
                "bytes": [c.state_bytes for c in new],
            },
        )
        for c in new:
            self._known[c.node_id] = (c.epoch, c.data_qubits, c.state_bytes)

    async def end(
        self, tenant_id: str, job_id: str, ids: Sequence[str], state: str, reason: str
    ) -> list[Stored]:
        """Moves live reservations to an end; gives their room back."""
        rows = await self._all(
            _END.replace("{which}", _OF_JOB),
            {"tenant": tenant_id, "job": job_id, "ids": list(ids), "state": state, "reason": reason},
        )
        return [_stored(row) for row in rows]

    async def extend(self, tenant_id: str, job_id: str, fence: int, ttl_ms: int) -> list[Stored]:
        """Extends live reservations and takes them over for a claim."""
        rows = await self._all(
            _EXTEND, {"tenant": tenant_id, "job": job_id, "fence": fence, "ttl": ttl_ms / 1000}
        )
        return [_stored(row) for row in rows]

    async def get(self, tenant_id: str, reservation_id: str) -> Stored | None:
        """One reservation with its history."""
        rows = await self._all(_GET, {"tenant": tenant_id, "id": reservation_id})
        if not rows:
            return None
        found = _stored(rows[0])
        for state, at, reason in await self._all(_EVENTS, {"id": reservation_id}):
            event = found.reservation.history.add(
                state=pb.ReservationState.Value(f"RESERVATION_STATE_{state}"), reason=reason
            )
            event.at.FromDatetime(at)
        return found

    async def live(self, tenant_id: str, job_id: str, node_id: str) -> list[Stored]:
        """Live reservations."""
        rows = await self._all(_LIVE, {"tenant": tenant_id, "job": job_id, "node": node_id})
        return [_stored(row) for row in rows]

    async def usage(self) -> list[pb.NodeUsage]:
        """What is reserved, by node."""
        return [
            pb.NodeUsage(
                node_id=row[0],
                data_qubits=row[1],
                state_bytes=row[2],
                capacity_data_qubits=row[3],
                reservations=row[4],
            )
            for row in await self._all(_USAGE, {})
        ]

    async def expire(self) -> int:
        """Ends what is past its time."""
        return len(await self._all(_EXPIRE, {"state": "EXPIRED", "reason": "time to live ended"}))

    async def _all(self, statement: str, parameters: dict[str, Any]) -> list[TupleRow]:
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall()
