"""gRPC clients of the gateway."""

from __future__ import annotations

from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.planner.v1 import planner_pb2_grpc as planner_stubs
from qmesh.registry.v1 import registry_pb2_grpc as registry_stubs
from qmesh.reservation.v1 import reservation_pb2_grpc as reservation_stubs
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh.runtime.v1 import runtime_pb2_grpc as runtime_stubs
from qmesh_gateway.settings import Settings
from qmesh_kit.rpc import RpcChannel

_COMPILE_SECONDS = 60.0
_RESULT_SECONDS = 60.0


def _joined(pieces: list[bytes]) -> planning.Plan:
    """A plan from the chunks of its stream."""
    return planning.Plan.FromString(b"".join(pieces))


class Clients:
    """One channel and one stub for each service."""

    def __init__(self, settings: Settings) -> None:
        """Takes the targets; channels connect when they are first used."""
        section = settings.gateway
        self.timeout = section.call_timeout
        self.channels = {
            name: RpcChannel(target, default_timeout=section.call_timeout, tls=settings.tls)
            for name, target in (
                ("runtime", section.runtime),
                ("planner", section.planner),
                ("registry", section.registry),
                ("reservation", section.reservation),
                ("analyzer", section.analyzer),
            )
        }
        self.runtime = self.channels["runtime"].stub(runtime_stubs.JobServiceStub)
        self.planner = self.channels["planner"].stub(planner_stubs.PlannerServiceStub)
        self.registry = self.channels["registry"].stub(registry_stubs.RegistryServiceStub)
        self.reservation = self.channels["reservation"].stub(reservation_stubs.ReservationServiceStub)

    async def plan(self, request: planner.GetPlanRequest) -> planning.Plan:
        """A stored plan."""
        return _joined([piece.plan async for piece in self.planner.GetPlan(request, timeout=self.timeout)])

    async def compile(self, request: planner.CompileRequest) -> planning.Plan:
        """A new plan."""
        return _joined(
            [piece.plan async for piece in self.planner.Compile(request, timeout=_COMPILE_SECONDS)]
        )

    async def job(self, request: runtime.GetJobRequest) -> runtime.Job:
        """A job with its result, however large that is."""
        job = (await self.runtime.GetJob(request, timeout=self.timeout)).job
        if job.result_bytes:
            wanted = runtime.GetResultRequest(
                caller=request.caller, job_id=request.job_id, detail=request.detail
            )
            pieces = [piece.piece async for piece in self.runtime.GetResult(wanted, timeout=_RESULT_SECONDS)]
            job.result_json = b"".join(pieces)
        return job

    async def close(self) -> None:
        """Closes all channels."""
        for channel in self.channels.values():
            await channel.close()
