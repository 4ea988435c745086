"""RegistryService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from qmesh.registry.v1 import registry_pb2 as pb
from qmesh.registry.v1 import registry_pb2_grpc as stubs
from qmesh_kit.errors import ServiceError
from qmesh_registry.adapters.fabric import RegistryFabric
from qmesh_registry.application import Registry


class RegistryServicer(stubs.RegistryServiceServicer):
    """Translates messages; decides nothing."""

    def __init__(self, registry: Registry, fabric: RegistryFabric) -> None:
        """Takes the use cases and the host."""
        self._registry = registry
        self._fabric = fabric

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Any) -> pb.GetSnapshotResponse:  # noqa: N802
        """One snapshot."""
        return pb.GetSnapshotResponse(snapshot=await self._registry.snapshot(request.snapshot_id))

    async def WatchSnapshots(  # noqa: N802
        self, request: pb.WatchSnapshotsRequest, context: Any
    ) -> AsyncIterator[pb.WatchSnapshotsResponse]:
        """Newest snapshot now and at every change."""
        async for snapshot in self._registry.watch():
            yield pb.WatchSnapshotsResponse(snapshot=snapshot)

    async def PinSnapshot(self, request: pb.PinSnapshotRequest, context: Any) -> pb.PinSnapshotResponse:  # noqa: N802
        """Stores a snapshot that a plan cites."""
        await self._registry.pin(request.snapshot_id)
        return pb.PinSnapshotResponse()

    async def ListPeers(self, request: pb.ListPeersRequest, context: Any) -> pb.ListPeersResponse:  # noqa: N802
        """Peers and links."""
        peers, links = self._registry.peers(include_stale=request.include_stale)
        return pb.ListPeersResponse(peers=peers, links=links)

    async def GetPeer(self, request: pb.GetPeerRequest, context: Any) -> pb.GetPeerResponse:  # noqa: N802
        """One peer."""
        return pb.GetPeerResponse(peer=self._registry.peer(request.peer_id))

    async def EnrollPeer(self, request: pb.EnrollPeerRequest, context: Any) -> pb.EnrollPeerResponse:  # noqa: N802
        """Peers enroll themselves over libp2p, where they prove their keys."""
        raise ServiceError("UNIMPLEMENTED", "a peer enrolls itself over /qmesh/enroll/1.0.0")

    async def ListEnrollments(  # noqa: N802
        self, request: pb.ListEnrollmentsRequest, context: Any
    ) -> pb.ListEnrollmentsResponse:
        """Enrollments with their history."""
        return pb.ListEnrollmentsResponse(enrollments=await self._registry.enrollments(request.peer_id))

    async def ActOnEnrollment(  # noqa: N802
        self, request: pb.ActOnEnrollmentRequest, context: Any
    ) -> pb.ActOnEnrollmentResponse:
        """Approve, reject, quarantine."""
        return pb.ActOnEnrollmentResponse(enrollment=await self._registry.act(request))

    async def ReportObservations(  # noqa: N802
        self, request: pb.ReportObservationsRequest, context: Any
    ) -> pb.ReportObservationsResponse:
        """What executions showed of nodes."""
        self._registry.observe(list(request.observations))
        return pb.ReportObservationsResponse()

    async def GetFabric(self, request: pb.GetFabricRequest, context: Any) -> pb.GetFabricResponse:  # noqa: N802
        """The libp2p host of the registry."""
        return await self._fabric.describe()
