"""What the node needs from outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_node.domain.tableau import Part


class StateSource(Protocol):
    """Brings versions from their holders."""

    async def pull(
        self, ref: state.ComponentRef, addresses: Sequence[str], token: bytes, deadline: float
    ) -> Part:
        """The version that the reference names, checked against its digest.

        Raises:
            LookupError: the holder does not have it, or cannot be reached.
        """
        ...


class Signer(Protocol):
    """The node's key."""

    @property
    def peer_id(self) -> str:
        """Peer id."""
        ...

    def sign(self, payload: bytes) -> bytes:
        """Ed25519 signature."""
        ...


class Journal(Protocol):
    """The node's own append-only log."""

    def append(self, kind: str, body: Mapping[str, object]) -> int:
        """Appends a line, durable soon, not at once; returns its number."""
        ...
