"""A gateway over real sockets: uvicorn in front, and behind it grpc.aio servers that hold jobs in memory."""

from __future__ import annotations

import asyncio
import re
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest

from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.planner.v1 import planner_pb2_grpc as planner_stubs
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.registry.v1 import registry_pb2_grpc as registry_stubs
from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh.reservation.v1 import reservation_pb2_grpc as reservation_stubs
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh.runtime.v1 import runtime_pb2_grpc as runtime_stubs
from qmesh_gateway.adapters.auth import Authenticator
from qmesh_gateway.adapters.clients import Clients
from qmesh_gateway.adapters.http import HttpServer, listen
from qmesh_gateway.adapters.live import LiveEvents
from qmesh_gateway.app import build
from qmesh_gateway.settings import GatewaySection, Settings
from qmesh_gateway.state import GatewayState
from qmesh_kit.bus import Bus
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcServer
from qmesh_kit.settings import NatsSection

BELL = "OPENQASM 3;\nqubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n"
PLAN_ID = "2c9bf3fa-a218-5311-aebd-f3ff66f356c9"
TERMINAL = (events.JOB_STATUS_COMPLETED, events.JOB_STATUS_FAILED, events.JOB_STATUS_CANCELED)


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """The names of this module: test folders are no packages, so tests cannot import them."""
    return sys.modules[__name__]


class Jobs(runtime_stubs.JobServiceServicer):
    """Jobs in memory, by the rules of the runtime that callers can see."""

    def __init__(self) -> None:
        """No job."""
        self.jobs: dict[str, runtime.Job] = {}
        self.submitted: list[runtime.SubmitRequest] = []
        self.keys: dict[str, tuple[bytes, str]] = {}
        self.history: dict[str, list[events.JobEvent]] = {}
        self.failure: BaseException | None = None
        self.reads = 0

    async def Submit(self, request: runtime.SubmitRequest, _context: Any) -> runtime.SubmitResponse:  # noqa: N802
        """A job, or the one of the key."""
        if self.failure is not None:
            raise self.failure
        known = self.keys.get(request.idempotency_key)
        if known is not None:
            if known[0] != request.body_digest:
                raise ServiceError("IDEMPOTENCY_CONFLICT", "the key was used with another body")
            return runtime.SubmitResponse(job=self.jobs[known[1]], existing=True)
        self.submitted.append(request)
        job = runtime.Job(
            job_id=str(uuid.uuid4()),
            tenant_id=request.caller.tenant_id,
            status=events.JOB_STATUS_QUEUED,
            shots=request.shots,
            seed=request.seed,
            strategy=request.strategy,
            precision=request.precision,
            metadata_json=request.metadata_json,
        )
        self.jobs[job.job_id] = job
        if request.idempotency_key:
            self.keys[request.idempotency_key] = (request.body_digest, job.job_id)
        return runtime.SubmitResponse(job=job)

    def _job(self, job_id: str) -> runtime.Job:
        if job_id not in self.jobs:
            raise ServiceError("NOT_FOUND", "there is no job with this id")
        return self.jobs[job_id]

    async def GetJob(self, request: runtime.GetJobRequest, _context: Any) -> runtime.GetJobResponse:  # noqa: N802
        """One job; a result only when it was asked for."""
        job = runtime.Job()
        job.CopyFrom(self._job(request.job_id))
        if request.detail == runtime.RESULT_DETAIL_UNSPECIFIED:
            job.result_json = b""
        if len(job.result_json) > 1 << 20:
            job.result_bytes = len(job.result_json)
            job.ClearField("result_json")
        return runtime.GetJobResponse(job=job)

    async def GetResult(  # noqa: N802
        self, request: runtime.GetResultRequest, _context: Any
    ) -> AsyncIterator[runtime.GetResultResponse]:
        """A result in pieces."""
        document = self._job(request.job_id).result_json
        for at in range(0, len(document), 1 << 20):
            yield runtime.GetResultResponse(piece=document[at : at + (1 << 20)])

    async def ListJobs(self, request: runtime.ListJobsRequest, _context: Any) -> runtime.ListJobsResponse:  # noqa: N802
        """A page, whose cursor is a position."""
        if not re.fullmatch(r"\d*", request.cursor):
            raise ServiceError("INVALID_ARGUMENT", "the cursor is not one that this service gave")
        found = [j for j in self.jobs.values() if not request.statuses or j.status in request.statuses]
        first = int(request.cursor or 0)
        last = first + request.limit
        cursor = str(last) if last < len(found) else ""
        return runtime.ListJobsResponse(jobs=found[first:last], next_cursor=cursor)

    async def CancelJob(self, request: runtime.CancelJobRequest, _context: Any) -> runtime.CancelJobResponse:  # noqa: N802
        """A cancel, refused at the end."""
        job = self._job(request.job_id)
        if job.status in TERMINAL:
            raise ServiceError("ILLEGAL_TRANSITION", "the job has already ended")
        job.status, job.cancel_requested = events.JOB_STATUS_CANCELED, True
        return runtime.CancelJobResponse(job=job)

    async def Events(  # noqa: N802
        self, request: runtime.EventsRequest, _context: Any
    ) -> AsyncIterator[runtime.EventsResponse]:
        """History above a sequence."""
        self.reads += 1
        self._job(request.job_id)
        found = [e for e in self.history.get(request.job_id, []) if e.sequence > request.after]
        ended = any(e.status in TERMINAL for e in self.history.get(request.job_id, []))
        yield runtime.EventsResponse(events=found, final=ended)

    async def GetShots(  # noqa: N802
        self, request: runtime.GetShotsRequest, _context: Any
    ) -> AsyncIterator[runtime.GetShotsResponse]:
        """Two columns."""
        self._job(request.job_id)
        yield runtime.GetShotsResponse(bit=0, column=b"\xa5", shots=8)
        yield runtime.GetShotsResponse(bit=1, column=b"\x5a", shots=8)

    def happened(self, job_id: str, sequence: int, status: int) -> events.JobEvent:
        """Adds an event to a job's history."""
        event = events.JobEvent(
            job_id=job_id,
            sequence=sequence,
            type=events.JOB_EVENT_TYPE_STATUS,
            status=events.JobStatus.ValueType(status),
        )
        self.history.setdefault(job_id, []).append(event)
        return event


class Planner(planner_stubs.PlannerServiceServicer):
    """One stored plan, in two chunks."""

    PLAN = planning.Plan(
        plan_id=PLAN_ID,
        strategy=planning.STRATEGY_COST,
        fragments=[planning.Fragment(fragment_id="0.0", service_type="cnot", qubits=[0, 1])],
        blocks=[
            planning.Block(
                fragments=[0],
                candidates=[
                    planning.Candidate(node_id="a", score=planning.Score(total=7, latency=7)),
                    planning.Candidate(node_id="b", rank=1, score=planning.Score(total=9, load=9)),
                ],
            )
        ],
        ebit_summary=planning.EbitSummary(
            total=2, e_inf=1, per_link=[planning.LinkEbits(node_a="a", node_b="b", ebits=2)]
        ),
    )

    async def GetPlan(  # noqa: N802
        self, request: planner.GetPlanRequest, _context: Any
    ) -> AsyncIterator[planner.GetPlanResponse]:
        """The plan."""
        if request.plan_id != PLAN_ID:
            raise ServiceError("NOT_FOUND", "there is no plan with this id")
        raw = self.PLAN.SerializeToString()
        for part in (raw[:20], raw[20:]):
            yield planner.GetPlanResponse(plan=part)

    async def Compile(  # noqa: N802
        self, _request: planner.CompileRequest, _context: Any
    ) -> AsyncIterator[planner.CompileResponse]:
        """The plan, whatever the circuit."""
        yield planner.CompileResponse(plan=self.PLAN.SerializeToString())


class Registry(registry_stubs.RegistryServiceServicer):
    """Two nodes and a link."""

    async def GetSnapshot(  # noqa: N802
        self, _request: registry.GetSnapshotRequest, _context: Any
    ) -> registry.GetSnapshotResponse:
        """The snapshot."""
        offers = [
            advert.ServiceOffer(service_type="cnot", fidelity=0.98, qubit_min=2, qubit_max=2),
            advert.ServiceOffer(service_type="qft", fidelity=0.9, qubit_min=1, qubit_max=6),
        ]
        nodes = [registry.Node(node_id=n, name=n, services=offers) for n in ("alice", "bob")]
        return registry.GetSnapshotResponse(snapshot=registry.Snapshot(snapshot_id="5" * 64, nodes=nodes))

    async def ListPeers(  # noqa: N802
        self, _request: registry.ListPeersRequest, _context: Any
    ) -> registry.ListPeersResponse:
        """Both nodes."""
        peers = [
            registry.Peer(
                peer_id=name,
                name=name,
                health=registry.HEALTH_STATUS_HEALTHY,
                capacity=advert.Capacity(data_qubits=4),
            )
            for name in ("alice", "bob")
        ]
        link = registry.Link(node_a="alice", node_b="bob", rtt_us=1500, pair_fidelity=0.97, pair_rate_hz=200)
        return registry.ListPeersResponse(peers=peers, links=[link])

    async def GetPeer(self, _request: registry.GetPeerRequest, _context: Any) -> registry.GetPeerResponse:  # noqa: N802
        """None."""
        raise ServiceError("NOT_FOUND", "there is no peer with this id")

    async def GetFabric(  # noqa: N802
        self, _request: registry.GetFabricRequest, _context: Any
    ) -> registry.GetFabricResponse:
        """A host that runs."""
        return registry.GetFabricResponse(running=True, peer_id="registry", topics=["qmesh/adverts/v1"])


class Reservations(reservation_stubs.ReservationServiceServicer):
    """Nothing is reserved."""

    async def GetReservation(  # noqa: N802
        self, _request: reservation.GetReservationRequest, _context: Any
    ) -> reservation.GetReservationResponse:
        """None."""
        raise ServiceError("NOT_FOUND", "there is no reservation with this id")


@dataclass(frozen=True)
class Message:
    """A NATS message."""

    data: bytes
    subject: str = "qmesh.events.jobs.x"


class FakeBus:
    """Says that it is connected."""

    connected = True


@dataclass
class Gateway:
    """A running gateway and what is behind it."""

    url: str
    port: int
    http: httpx.AsyncClient
    jobs: Jobs
    live: LiveEvents
    backend: RpcServer
    bus: FakeBus
    server: HttpServer

    async def submit(self, **body: Any) -> httpx.Response:
        """Submits a Bell pair, or what is given."""
        return await self.http.post("/circuits/submit", json={"circuit": BELL} | body)

    async def raw(self, data: bytes) -> bytes:
        """Sends bytes; what comes back until the gateway closes."""
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(data)
                await writer.drain()
                return await reader.read()
            finally:
                writer.close()
                await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except OSError:
        return  # the gateway closed first


Start = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a gateway with the settings given."""

    @asynccontextmanager
    async def starting(**section: Any) -> AsyncIterator[Gateway]:
        target = f"unix:{tmp_path}/backend.sock"
        backend, jobs = RpcServer(), Jobs()
        runtime_stubs.add_JobServiceServicer_to_server(jobs, backend.grpc)
        planner_stubs.add_PlannerServiceServicer_to_server(Planner(), backend.grpc)
        # the calls that the gateway does not make answer UNIMPLEMENTED
        others = (Registry(), Reservations())  # type: ignore[abstract] # as the line above says
        registry_stubs.add_RegistryServiceServicer_to_server(others[0], backend.grpc)
        reservation_stubs.add_ReservationServiceServicer_to_server(others[1], backend.grpc)
        backend.listen(target)
        await backend.start()
        await backend.set_serving(serving=True)
        await backend.set_serving(serving=True, part="documents")
        targets = dict.fromkeys(("runtime", "planner", "registry", "reservation", "analyzer"), target)
        settings = Settings(
            gateway=GatewaySection(**targets | section), nats=NatsSection(url="nats://127.0.0.1:4222")
        )
        clients = Clients(settings)
        live = LiveEvents(clients, settings.gateway.stream_idle)
        key = settings.gateway.api_key
        bus = FakeBus()
        state = GatewayState(
            settings.gateway,
            clients,
            live,
            Authenticator(key.get_secret_value() if key else None, "default"),
            cast("Bus", bus),
        )
        listener = listen("127.0.0.1", 0)
        port: int = listener.getsockname()[1]
        server = HttpServer(build(state), 1.0)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve([listener]))
                await server.listening.wait()
                url = f"http://127.0.0.1:{port}"
                async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=10, trust_env=False) as http:
                    yield Gateway(url, port, http, jobs, live, backend, bus, server)
                live.close()
                server.should_exit = True
        finally:
            await clients.close()
            await backend.stop(0)

    return starting


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Gateway]:
    """A gateway with default settings."""
    async with start() as running:
        yield running


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for a condition, at most five seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - the condition is another process's or a foreign object's
                await asyncio.sleep(0.005)

    return wait
