"""Plans that a process of its own makes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_kit.errors import ServiceError
from qmesh_model import wire
from qmesh_model.errors import MeshError
from qmesh_model.parser import parse
from qmesh_planner.adapters.compiler import ProcessCompiler
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights

_WEIGHTS = Weights(1000, 20_000, 50_000_000, 2000)


@asynccontextmanager
async def _compiler(timeout_seconds: float = 60.0) -> AsyncIterator[ProcessCompiler]:
    found = ProcessCompiler(_WEIGHTS, timeout_seconds)
    try:
        yield found
    finally:
        await found.stop()


def _request(gates: int, service: str = "hadamard") -> planner.CompileRequest:
    snapshot = registry.Snapshot(snapshot_id="s")
    node = snapshot.nodes.add(node_id="n", state_transfer=True, executors=["ensemble"])
    node.capacity.data_qubits, node.capacity.state_bytes = 3, 1 << 30
    node.services.add(service_type=service, fidelity=0.99, qubit_min=1, qubit_max=9, availability=1)
    text = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q;' + "h q[0]; h q[1];" * (gates // 2)
    return planner.CompileRequest(circuit=wire.to_proto(parse(text)), topology=snapshot, shots=100)


def _pid(compiler: ProcessCompiler) -> int:
    worker = compiler._worker
    assert worker is not None
    return worker.process.pid


async def test_a_plan_is_the_same_wherever_it_is_made() -> None:
    """The process gives the bytes of a plan in place, one after the other from one process."""
    async with _compiler() as compiler:
        await compiler.warm()
        pid = _pid(compiler)
        for gates in (60, 200, 60):
            request = _request(gates)
            expected = make_plan(request, _WEIGHTS).SerializeToString(deterministic=True)
            assert await compiler.compile(request) == expected
        assert _pid(compiler) == pid


async def test_a_refusal_of_the_process_is_the_planners() -> None:
    """Code and details come through, and the process stays."""
    async with _compiler() as compiler:
        request = _request(60, "cnot")
        with pytest.raises(MeshError) as here:
            make_plan(request, _WEIGHTS)
        with pytest.raises(MeshError) as there:
            await compiler.compile(request)
        assert (there.value.code, there.value.message) == (here.value.code, here.value.message)
        assert there.value.details == here.value.details
        assert await compiler.compile(_request(60))


async def test_a_process_that_died_is_started_again() -> None:
    """One that dies between questions is not noticed; one that dies over a question says that it may be asked again."""
    async with _compiler() as compiler:
        await compiler.warm()
        worker = compiler._worker
        assert worker is not None
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait(30)
        assert await compiler.compile(_request(60))
        dying = _pid(compiler)
        os.kill(dying, signal.SIGSTOP)
        asked = asyncio.create_task(compiler.compile(_request(60)))
        while not compiler._turn.locked():  # noqa: ASYNC110 - a lock has no event
            await asyncio.sleep(0)
        os.kill(dying, signal.SIGKILL)
        with pytest.raises(ServiceError) as died:
            await asked
        assert (died.value.code, died.value.retry_after) == ("UNAVAILABLE", 0.5)
        assert await compiler.compile(_request(60))
        assert _pid(compiler) != dying


async def test_a_plan_that_takes_too_long_ends_its_process() -> None:
    """The time is the caller's answer, and the next question meets a fresh process."""
    async with _compiler(timeout_seconds=0.5) as compiler:
        await compiler.warm()
        slow = _pid(compiler)
        os.kill(slow, signal.SIGSTOP)
        with pytest.raises(ServiceError, match=r"no plan within 0\.5 s") as late:
            await compiler.compile(_request(60))
        assert late.value.code == "DEADLINE_EXCEEDED"
        with pytest.raises(ProcessLookupError):
            os.kill(slow, 0)
        compiler._timeout = 60.0
        assert await compiler.compile(_request(60))
