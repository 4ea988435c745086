"""What peers ask of versions: only one that is here, with the digest that they know."""

from __future__ import annotations

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric.errors import FabricError
from qmesh_node.domain.store import Version, VersionStore


def held(store: VersionStore, identity: state.ComponentId, digest: bytes | None) -> Version:
    """The version that a peer names; without a digest, whatever it is.

    Raises:
        FabricError: NOT_FOUND, or DIGEST_MISMATCH.
    """
    version = store.get(identity)
    if version is None:
        raise FabricError("NOT_FOUND", "this version is not here")
    if digest is not None and digest != version.ref.digest:
        raise FabricError("DIGEST_MISMATCH", "this version has another digest here")
    return version
