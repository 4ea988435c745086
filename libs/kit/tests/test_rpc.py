"""gRPC between services: deadlines always, errors by code, nothing leaked, bytes of strangers refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from qmesh.analyzer.v1 import analyzer_pb2 as analyzer
from qmesh.analyzer.v1 import analyzer_pb2_grpc as analyzer_stubs
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.planner.v1 import planner_pb2_grpc as planner_stubs
from qmesh_kit import trace
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcChannel, RpcServer

SECRET = "postgres://me:hunter2@db"  # noqa: S105 - what must not leak


class Planner(planner_stubs.PlannerServiceServicer):
    """Answers by the name of the plan."""

    def __init__(self) -> None:
        self.seen: list[trace.RequestContext | None] = []
        self.canceled = asyncio.Event()

    async def Compile(  # noqa: N802
        self, _request: planner.CompileRequest, _context: Any
    ) -> AsyncIterator[planner.CompileResponse]:
        """Is not asked here."""
        raise NotImplementedError
        yield planner.CompileResponse()

    async def GetPlan(  # noqa: N802
        self, request: planner.GetPlanRequest, _context: Any
    ) -> AsyncIterator[planner.GetPlanResponse]:
        """Two pieces, then what the name says."""
        self.seen.append(trace.current())
        for _ in range(2):
            yield planner.GetPlanResponse(plan=b"piece")
        if request.plan_id == "refused":
            raise ServiceError("NO_CAPABLE_NODE", "no node", details={"service": "cnot"}, retry_after=1.5)
        if request.plan_id == "broken":
            raise RuntimeError(SECRET)
        if request.plan_id == "slow":
            try:
                await asyncio.sleep(60)
            finally:
                self.canceled.set()


class Analyzer(analyzer_stubs.AnalyzerServiceServicer):
    """Counts its parts."""

    async def Analyze(  # noqa: N802
        self, requests: AsyncIterator[analyzer.AnalyzeRequest], _context: Any
    ) -> analyzer.AnalyzeResponse:
        """Reads to the end, then fails in a way that nobody foresaw."""
        async for _ in requests:
            continue
        raise RuntimeError(SECRET)

    async def Factor(  # noqa: N802
        self, _request: analyzer.FactorRequest, _context: Any
    ) -> AsyncIterator[analyzer.FactorResponse]:
        """One piece, then a failure that nobody foresaw."""
        yield analyzer.FactorResponse()
        raise RuntimeError(SECRET)


class Pair:
    """A server and a channel to it."""

    def __init__(self, channel: RpcChannel, servicer: Planner, address: str) -> None:
        self.channel, self.servicer, self.address = channel, servicer, address
        self.planner = channel.stub(planner_stubs.PlannerServiceStub)

    async def pieces(self, plan_id: str, **more: Any) -> list[bytes]:
        """The pieces of a plan."""
        return [p.plan async for p in self.planner.GetPlan(planner.GetPlanRequest(plan_id=plan_id), **more)]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Both ends over a Unix socket."""
    server, servicer = RpcServer(), Planner()
    planner_stubs.add_PlannerServiceServicer_to_server(servicer, server.grpc)
    analyzer_stubs.add_AnalyzerServiceServicer_to_server(Analyzer(), server.grpc)
    address = server.listen(f"unix:{tmp_path}/s")
    await server.start()
    channel = RpcChannel(address, default_timeout=5.0)
    yield Pair(channel, servicer, address)
    await channel.close()
    await server.stop(0.1)


async def test_a_call_without_any_deadline_is_refused(pair: Pair) -> None:
    """A channel without a default makes its callers say how long they wait, for streams too."""
    channel = RpcChannel(pair.address)
    with pytest.raises(ValueError, match="deadline"):
        channel.stub(planner_stubs.PlannerServiceStub).GetPlan(planner.GetPlanRequest())
    await channel.close()


async def test_an_error_keeps_code_details_and_pause(pair: Pair) -> None:
    """What a service refuses arrives as it was said, after what was streamed before it."""
    with pytest.raises(ServiceError) as refused:
        await pair.pieces("refused")
    error = refused.value
    assert (error.code, error.message, error.details, error.retry_after) == (
        "NO_CAPABLE_NODE", "no node", {"service": "cnot"}, 1.5,
    )  # fmt: skip


async def test_an_unforeseen_error_leaks_nothing(pair: Pair) -> None:
    """The caller reads of an unexpected error with its request; the text is in the server's log only."""
    with capture_logs() as lines, pytest.raises(ServiceError) as failed:
        await pair.pieces("broken")
    assert failed.value.code == "INTERNAL"
    assert SECRET not in str(failed.value) + repr(failed.value.details)
    (line,) = [line for line in lines if line["event"] == "handler failed"]
    assert line["request_id"] in failed.value.message
    assert SECRET in repr(line["exc_info"])


async def test_a_streamed_request_fails_the_same_way(pair: Pair) -> None:
    """A handler that reads a stream leaks nothing either."""

    async def parts() -> AsyncIterator[analyzer.AnalyzeRequest]:
        yield analyzer.AnalyzeRequest()

    with capture_logs(), pytest.raises(ServiceError) as failed:
        await pair.channel.stub(analyzer_stubs.AnalyzerServiceStub).Analyze(parts())
    assert failed.value.code == "INTERNAL"
    assert SECRET not in str(failed.value)


async def test_a_streamed_answer_that_breaks_fails_the_same_way(pair: Pair) -> None:
    """A handler that fails after a piece leaks nothing either; the piece has arrived."""
    pieces: list[analyzer.FactorResponse] = []

    async def read() -> None:
        stub = pair.channel.stub(analyzer_stubs.AnalyzerServiceStub)
        async for piece in stub.Factor(analyzer.FactorRequest()):
            pieces.append(piece)  # noqa: PERF401 - a comprehension would not keep what came before the failure

    with capture_logs(), pytest.raises(ServiceError) as failed:
        await read()
    assert failed.value.code == "INTERNAL"
    assert SECRET not in str(failed.value)
    assert len(pieces) == 1


async def test_a_deadline_ends_both_sides(pair: Pair) -> None:
    """The caller gets DEADLINE_EXCEEDED in time, and the handler is canceled."""
    begun = time.monotonic()
    with pytest.raises(ServiceError) as failed:
        await pair.pieces("slow", timeout=0.2)
    assert failed.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begun < 20
    async with asyncio.timeout(20):
        await pair.servicer.canceled.wait()


async def test_the_context_of_the_caller_travels(pair: Pair) -> None:
    """Tenant, principal, request and trace reach the next service; its deadline is the caller's, not a longer one."""
    with trace.using(
        trace.RequestContext(tenant_id="t", principal="me", deadline=time.monotonic() + 2)
    ) as own:
        await pair.pieces("good", timeout=60)
    (seen,) = pair.servicer.seen
    assert seen is not None
    assert (seen.tenant_id, seen.principal, seen.request_id) == ("t", "me", own.request_id)
    assert seen.trace_id == own.trace_id
    left = seen.remaining()
    assert left is not None
    assert left < 10  # gRPC rounds a deadline up a little


async def test_bytes_that_are_no_message_are_refused(pair: Pair) -> None:
    """A foreign body is INVALID_ARGUMENT, not a crash."""
    async with grpc.aio.insecure_channel(pair.address) as channel:
        call = channel.unary_stream("/qmesh.planner.v1.PlannerService/GetPlan", bytes, bytes)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in call(b"\xff\xff\xff\xff", timeout=5):
                pass
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_taken_port_is_an_error_that_names_it(pair: Pair) -> None:
    """Two servers never share a port."""
    first = RpcServer()
    address = first.listen("127.0.0.1:0")
    await first.start()
    with pytest.raises(OSError, match=f"cannot listen on {address}"):
        RpcServer().listen(address)
    await first.stop(0)


async def test_a_service_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """No server means UNAVAILABLE at once, with a pause to try again."""
    channel = RpcChannel(f"unix:{tmp_path}/nobody", default_timeout=5.0)
    with pytest.raises(ServiceError) as failed:
        await Pair(channel, Planner(), "").pieces("good")
    assert (failed.value.code, failed.value.retry_after) == ("UNAVAILABLE", 1.0)
    await channel.close()


async def test_a_call_that_the_server_cancels_may_be_asked_again(tmp_path: Path) -> None:
    """What a server had not taken up when it stopped is canceled by gRPC: the same as a server that is away."""

    async def cancel(_request: object, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.CANCELLED)
        yield b""

    handler = grpc.unary_stream_rpc_method_handler(cancel)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("qmesh.planner.v1.PlannerService", {"GetPlan": handler})]
    )
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    channel = RpcChannel(f"unix:{tmp_path}/s", default_timeout=5.0)
    with pytest.raises(ServiceError) as failed:
        await Pair(channel, Planner(), "").pieces("good")
    assert (failed.value.code, failed.value.retry_after) == ("UNAVAILABLE", 1.0)
    await channel.close()
    await server.stop(0)
