"""The registry's snapshots: the newest by a watch, stored ones by call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.registry.v1 import registry_pb2_grpc as stubs
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcChannel, follow

_METHOD = "/qmesh.registry.v1.RegistryService/WatchSnapshots"
_FIRST = 5.0
_CALLER = caller.Caller(principal="planner")


class RegistrySnapshots:
    """Satisfies the `Snapshots` port."""

    def __init__(self, channel: RpcChannel) -> None:
        """Takes a channel to the registry."""
        self._channel = channel
        self._stub = channel.stub(stubs.RegistryServiceStub)
        self._newest: registry.Snapshot | None = None
        self._seen = asyncio.Event()
        self._pinned: set[str] = set()

    async def watch(self, stopping: asyncio.Event) -> None:
        """Keeps the newest snapshot."""
        await follow("snapshots", self._open, self._take, stopping=stopping)

    def _open(self) -> AsyncIterator[registry.WatchSnapshotsResponse]:
        return self._channel.endless(
            _METHOD,
            registry.WatchSnapshotsRequest.SerializeToString,
            registry.WatchSnapshotsResponse.FromString,
            registry.WatchSnapshotsRequest(caller=_CALLER),
        )

    async def _take(self, item: registry.WatchSnapshotsResponse) -> None:
        self._newest = item.snapshot
        self._seen.set()

    async def newest(self) -> registry.Snapshot:
        """The newest that is known here; waits a little for the first."""
        try:
            async with asyncio.timeout(_FIRST):
                await self._seen.wait()
        except TimeoutError:
            raise ServiceError("UNAVAILABLE", "no snapshot from the registry yet", retry_after=1.0) from None
        if self._newest is None:
            raise ServiceError("UNAVAILABLE", "no snapshot from the registry yet", retry_after=1.0)
        return self._newest

    async def load(self, snapshot_id: str) -> registry.Snapshot:
        """A stored one."""
        if self._newest is not None and self._newest.snapshot_id == snapshot_id:
            return self._newest
        request = registry.GetSnapshotRequest(caller=_CALLER, snapshot_id=snapshot_id)
        response = await self._stub.GetSnapshot(request)
        return response.snapshot

    async def pin(self, snapshot_id: str) -> None:
        """Stores one for good."""
        if snapshot_id in self._pinned:
            return
        await self._stub.PinSnapshot(registry.PinSnapshotRequest(caller=_CALLER, snapshot_id=snapshot_id))
        self._pinned.add(snapshot_id)
