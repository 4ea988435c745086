"""What the registry needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_kit.documents import Entry


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Standing of a peer as stored."""

    peer_id: str
    tenant_id: str
    owner: str
    tier: enroll.TrustTier.ValueType
    status: enroll.EnrollmentStatus.ValueType


class RegistryStore(Protocol):
    """Durable enrollments, peers as last seen, cited snapshots."""

    async def standings(self) -> list[Enrolled]:
        """All enrollments."""
        ...

    async def set_standing(self, standing: Enrolled, actor: str, reason: str, summary: str = "") -> None:
        """Makes or changes an enrollment, with an entry in its history."""
        ...

    async def enrollments(self, peer_id: str) -> list[pb.Enrollment]:
        """Enrollments with their history; all without a peer id."""
        ...

    async def save_peers(self, adverts: Mapping[str, bytes], entries: Sequence[Entry] = ()) -> None:
        """Peers as last seen, and documents to be delivered: both or neither."""
        ...

    async def peers(self) -> list[tuple[str, bytes, float, float]]:
        """(peer id, advertisement, first seen, last seen)."""
        ...

    async def pin(self, snapshot: pb.Snapshot) -> None:
        """Stores a snapshot for good."""
        ...

    async def pinned(self, snapshot_id: str) -> pb.Snapshot | None:
        """A stored snapshot."""
        ...

    async def next_boot(self) -> int:
        """A number above all that were given before."""
        ...


class Nodes(Protocol):
    """The nodes over libp2p."""

    def send_directory(self, entries: Sequence[tuple[str, Sequence[str], str]], version: int) -> None:
        """Sends every node the directory, and whom to probe."""
        ...

    def shut_out(self, peer_id: str, status: enroll.EnrollmentStatus.ValueType, reason: str) -> None:
        """Tells a peer its new status, and ends its connections."""
        ...
