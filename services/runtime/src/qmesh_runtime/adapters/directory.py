"""Where nodes are now, by the registry's watch; and what executions showed of them, back to it in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import structlog

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.registry.v1 import registry_pb2_grpc as stubs
from qmesh_kit.rpc import RpcChannel, follow

log = structlog.get_logger()

_METHOD = "/qmesh.registry.v1.RegistryService/WatchSnapshots"
_BATCH = 500
_KEPT = 10_000
_CALLER = caller.Caller(principal="runtime")


class RegistryDirectory:
    """Satisfies the `Directory` and `Observations` ports."""

    def __init__(self, channel: RpcChannel) -> None:
        """Takes a channel to the registry."""
        self._channel = channel
        self._stub = channel.stub(stubs.RegistryServiceStub)
        self._addresses: dict[str, list[str]] = {}
        self._known: set[str] = set()
        self._observed: deque[registry.Observation] = deque(maxlen=_KEPT)

    async def watch(self, stopping: asyncio.Event) -> None:
        """Keeps the newest addresses."""
        await follow("snapshots", self._open, self._take, stopping=stopping)

    def _open(self) -> AsyncIterator[registry.WatchSnapshotsResponse]:
        return self._channel.endless(
            _METHOD,
            registry.WatchSnapshotsRequest.SerializeToString,
            registry.WatchSnapshotsResponse.FromString,
            registry.WatchSnapshotsRequest(caller=_CALLER),
        )

    async def _take(self, item: registry.WatchSnapshotsResponse) -> None:
        self._addresses = {node.node_id: list(node.addresses) for node in item.snapshot.nodes}
        self._known |= set(self._addresses)

    def addresses(self, node_id: str) -> list[str] | None:
        """Newest addresses; None for a node that is not there."""
        return self._addresses.get(node_id)

    def admits(self, peer_id: str) -> bool:
        """Whether a peer was ever in a snapshot: only enrolled nodes are."""
        return peer_id in self._known

    def observe(self, observation: registry.Observation) -> None:
        """Notes one observation; the oldest give way when the registry is away for long."""
        self._observed.append(observation)

    async def report(self) -> None:
        """Sends what was observed."""
        while self._observed:
            batch = [self._observed.popleft() for _ in range(min(_BATCH, len(self._observed)))]
            await self._stub.ReportObservations(
                registry.ReportObservationsRequest(caller=_CALLER, observations=batch)
            )
