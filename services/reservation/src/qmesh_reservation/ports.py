"""What the reservation service needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qmesh.reservation.v1 import reservation_pb2 as pb


@dataclass(frozen=True, slots=True)
class Stored:
    """A reservation as stored."""

    reservation: pb.Reservation
    tenant_id: str
    expires_at: float


class ReservationStore(Protocol):
    """Durable reservations; time is the database's."""

    async def reserve(self, request: pb.ReserveRequest, ids: Sequence[str]) -> list[Stored] | str:
        """All lines in one transaction, or the id of a node that has no room now."""
        ...

    async def end(
        self, tenant_id: str, job_id: str, ids: Sequence[str], state: str, reason: str
    ) -> list[Stored]:
        """Moves live reservations of a job (or by id) to an end; gives their room back."""
        ...

    async def extend(self, tenant_id: str, job_id: str, fence: int, ttl_ms: int) -> list[Stored]:
        """Extends live reservations and takes them over for a claim."""
        ...

    async def get(self, tenant_id: str, reservation_id: str) -> Stored | None:
        """One reservation with its history."""
        ...

    async def live(self, tenant_id: str, job_id: str, node_id: str) -> list[Stored]:
        """Live reservations."""
        ...

    async def usage(self) -> list[pb.NodeUsage]:
        """What is reserved, by node."""
        ...

    async def expire(self) -> int:
        """Ends what is past its time; returns how many."""
        ...
