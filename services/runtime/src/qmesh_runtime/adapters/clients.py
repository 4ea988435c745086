"""Planner, reservation and analyzer over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.analyzer.v1 import analyzer_pb2_grpc as analyzer_stubs
from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.planner.v1 import planner_pb2_grpc as planner_stubs
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.registry.v1 import registry_pb2_grpc as registry_stubs
from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh.reservation.v1 import reservation_pb2_grpc as reservation_stubs
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcChannel
from qmesh_runtime.domain.overlap import Factors
from qmesh_runtime.ports import Compiled

_COMPILE_SECONDS = 60.0
_RESERVE_SLACK = 2.0
_ANALYZE_SECONDS = 60.0
_AMPLITUDE = 16


def _caller(tenant_id: str) -> caller.Caller:
    return caller.Caller(tenant_id=tenant_id, principal="runtime")


class PlannerClient:
    """Satisfies the `Planner` port."""

    def __init__(self, channel: RpcChannel, registry_channel: RpcChannel) -> None:
        """Takes channels to the planner, and to the registry for the snapshots that stored plans cite."""
        self._stub = channel.stub(planner_stubs.PlannerServiceStub)
        self._registry = registry_channel.stub(registry_stubs.RegistryServiceStub)

    async def compile(self, request: planner.CompileRequest) -> Compiled:
        """Makes and stores a plan."""
        pieces: list[bytes] = []
        nodes: list[registry.Node] = []
        async for piece in self._stub.Compile(request, timeout=_COMPILE_SECONDS):
            pieces.append(piece.plan)
            nodes.extend(piece.nodes)
        return Compiled(planning.Plan.FromString(b"".join(pieces)), {node.node_id: node for node in nodes})

    async def get(self, tenant_id: str, plan_id: str) -> Compiled:
        """A stored plan, with the nodes of its snapshot."""
        request = planner.GetPlanRequest(caller=_caller(tenant_id), plan_id=plan_id)
        pieces = [piece.plan async for piece in self._stub.GetPlan(request)]
        plan = planning.Plan.FromString(b"".join(pieces))
        wanted = registry.GetSnapshotRequest(caller=_caller(tenant_id), snapshot_id=plan.snapshot_id)
        found = await self._registry.GetSnapshot(wanted)
        return Compiled(plan, {node.node_id: node for node in found.snapshot.nodes})


class ReservationClient:
    """Satisfies the `Reservations` port."""

    def __init__(self, channel: RpcChannel) -> None:
        """Takes a channel to the reservation service."""
        self._stub = channel.stub(reservation_stubs.ReservationServiceStub)

    async def reserve(self, request: reservation.ReserveRequest) -> Sequence[reservation.Reservation]:
        """Reserves all lines or none."""
        timeout = request.wait_ms / 1000 + _RESERVE_SLACK
        response = await self._stub.Reserve(request, timeout=timeout)
        return list(response.reservations)

    async def mark_executed(self, tenant_id: str, job_id: str, fence: int) -> None:
        """Marks all live reservations of a job as used."""
        await self._stub.MarkExecuted(
            reservation.MarkExecutedRequest(caller=_caller(tenant_id), job_id=job_id, fence=fence)
        )

    async def cancel(self, tenant_id: str, job_id: str, reason: str) -> None:
        """Gives all live reservations of a job back."""
        await self._stub.Cancel(
            reservation.CancelRequest(caller=_caller(tenant_id), job_id=job_id, reason=reason)
        )

    async def extend(
        self, tenant_id: str, job_id: str, fence: int, ttl_ms: int
    ) -> Sequence[reservation.Reservation]:
        """Live reservations of a job, extended and signed for a new claim."""
        response = await self._stub.Extend(
            reservation.ExtendRequest(caller=_caller(tenant_id), job_id=job_id, fence=fence, ttl_ms=ttl_ms)
        )
        return list(response.reservations)


class AnalyzerClient:
    """Satisfies the `Analyzer` port."""

    def __init__(self, channel: RpcChannel) -> None:
        """Takes a channel to the analyzer."""
        self._stub = channel.stub(analyzer_stubs.AnalyzerServiceStub)

    async def analyze(self, parts: AsyncIterator[analysis.AnalyzeRequest]) -> analysis.AnalyzeResponse:
        """Analyses one parameter set of one job."""
        return await self._stub.Analyze(parts, timeout=_ANALYZE_SECONDS)

    async def factor(self, request: analysis.FactorRequest) -> Factors:
        """The ideal state as factors over components."""
        header = analysis.FactorHeader()
        vectors = [bytearray() for _ in request.components]
        async for piece in self._stub.Factor(request, timeout=_ANALYZE_SECONDS):
            if piece.HasField("header"):
                header = piece.header
            elif piece.chunk.component < len(vectors):
                vectors[piece.chunk.component] += piece.chunk.data
        sizes = [_AMPLITUDE * len(header.weights) << len(part.wires) for part in request.components]
        if not header.weights or [len(part) for part in vectors] != sizes:
            raise ServiceError(
                "INVALID_ANSWER", "the factors are not of the size that their components ask for"
            )
        return Factors(tuple(header.weights), header.remainder, tuple(map(bytes, vectors)))
