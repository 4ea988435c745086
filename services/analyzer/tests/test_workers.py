"""The pool of worker processes by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from types import ModuleType
from typing import Any

import pytest

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh_analyzer import thread_data
from qmesh_analyzer.adapters import workers
from qmesh_analyzer.adapters.workers import WorkerPool
from qmesh_kit.errors import ServiceError
from qmesh_kit.metrics import Metrics

_MEMORY = 4 << 30
_NO_MEMORY = "ANALYZER_RESOURCE"
_TOLD = "TOO_MANY_PAIRS"
_SOME = 8
"""MiB that are plenty for an analysis without amplitudes."""


async def _analyze(pool: WorkerPool, request: Any, seconds: float = 20.0) -> analysis.AnalyzeResponse:
    return await pool.analyze(
        request.header.SerializeToString(),
        [data for data, _ in request.blobs],
        [rows_bytes for _, rows_bytes in request.blobs],
        qubits=request.header.circuit.num_qubits,
        timeout_seconds=seconds,
    )


async def test_workers_are_recycled_after_their_share(
    lab: ModuleType, seed_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker answers its share of analyses, one with a wide circuit only that one, and another takes over."""
    monkeypatch.setattr(workers, "_RECYCLE_AFTER", 3)
    metrics = Metrics("analyzer")
    pool = WorkerPool(1, _MEMORY, 30.0, metrics)
    wide = lab.request("OPENQASM 3.0;\nqubit[17] q;")
    async with asyncio.timeout(60), pool.running():
        await pool.warm()
        seen = []
        for request in (seed_request, seed_request, seed_request, seed_request, wide, seed_request):
            seen.append(pool.pids)
            assert (await _analyze(pool, request)).quantum_result_json
        before = seen[0]
        assert seen[1] == seen[2] == before
        assert pool.pids not in seen[:3]
    assert b'qmesh_analyzer_workers_ended_total{reason="recycled"} 3.0' in metrics.render()


async def test_idle_worker_that_dies_is_replaced(seed_request: Any) -> None:
    """A worker that is killed while it waits is noticed at once, and no call ever meets it."""
    pool = WorkerPool(1, _MEMORY, 30.0)
    async with asyncio.timeout(60), pool.running():
        await pool.warm()
        for _ in range(5):
            (worker,) = pool._live
            os.kill(worker.process.pid or 0, signal.SIGKILL)
            await worker.gone.wait()
            assert (await _analyze(pool, seed_request)).status == analysis.ANALYSIS_STATUS_COMPLETE


def _hungry(name: str) -> str:
    """A program whose analysis needs much memory: many histories, Aer, or generators of many qubits."""
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";']
    match name:
        case "histories":
            lines += ["qubit[14] q;", "bit[11] c;", "h q;", "t q;"]
            lines += [f"c[{k}] = measure q[{k}];\nx q[{k}];" for k in range(11)]
        case "amplitudes":
            lines += ["qubit[22] q;", "h q;", "t q;", "h q;"]
        case _:
            lines += ["qubit[300] q;", "bit[300] c;", "h q[0];"]
            lines += [f"cx q[{k}], q[{k + 1}];" for k in range(299)]
            lines += ["c = measure q;"]
    return "\n".join(lines)


async def _code(pool: WorkerPool, request: Any) -> str:
    """The code of an analysis, or of its refusal."""
    try:
        return (await _analyze(pool, request)).code
    except ServiceError as error:
        return error.code


@pytest.mark.parametrize("mebibytes", [0, 1, 2, 4, 8, 16, 64])
async def test_a_worker_without_memory_is_a_typed_error(
    lab: ModuleType, seed_request: Any, mebibytes: int
) -> None:
    """An analysis that needs more than it may have is refused by the worker itself, which lives on."""
    pool = WorkerPool(1, mebibytes << 20, 30.0)
    async with asyncio.timeout(60), pool.running():
        await pool.warm()
        pids = pool.pids
        assert await _code(pool, lab.request(_hungry("histories"))) == _NO_MEMORY
        allowed = {_TOLD} if mebibytes >= _SOME else {_TOLD, _NO_MEMORY}
        assert await _code(pool, lab.request(_hungry("generators"))) in allowed
        assert pool.pids == pids
        assert await _code(pool, lab.request(_hungry("amplitudes"))) == _NO_MEMORY
        if mebibytes >= _SOME:
            assert (await _analyze(pool, seed_request)).status == analysis.ANALYSIS_STATUS_COMPLETE


async def test_thread_local_data_is_there_before_it_is_needed() -> None:
    """A new thread has no data of the libraries that it never used; afterwards it has that of all of them."""

    def counted() -> tuple[int, int]:
        before = len(thread_data.unallocated())
        thread_data.allocate()
        return before, len(thread_data.unallocated())

    before, after = await asyncio.to_thread(counted)
    assert before > 0
    assert after == 0


async def test_busy_pool_says_so_within_the_callers_time(seed_request: Any) -> None:
    """A call that finds no free worker in its time is refused as retryable."""
    pool = WorkerPool(1, _MEMORY, 30.0)
    async with asyncio.timeout(60), pool.running():
        await pool.warm()
        worker = await pool._take()
        with pytest.raises(ServiceError) as caught:
            await _analyze(pool, seed_request, seconds=0.1)
        assert (caught.value.code, caught.value.retry_after) == ("UNAVAILABLE", 0.5)
        pool._idle.put_nowait(worker)
        assert (await _analyze(pool, seed_request)).status == analysis.ANALYSIS_STATUS_COMPLETE


async def test_canceled_call_ends_its_analysis(lab: ModuleType, seed_request: Any) -> None:
    """When the caller goes away its worker is replaced at once instead of computing for nobody."""
    gates = "\n".join(f"cu(0.1, 0.2, 0.3, {k}.5) q[{k % 21}], q[{k % 21 + 1}];" for k in range(400))
    slow = lab.request(f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[22] q;\n{gates}')
    pool = WorkerPool(1, _MEMORY, 30.0)
    async with asyncio.timeout(60), pool.running():
        await pool.warm()
        pids = pool.pids
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await _analyze(pool, slow)
        assert (await _analyze(pool, seed_request)).status == analysis.ANALYSIS_STATUS_COMPLETE
        assert pool.pids != pids


async def test_workers_that_never_come_up_end_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """When workers die at their start again and again the pool gives up with a typed error."""
    monkeypatch.setattr(workers, "run_worker", os._exit)
    pool = WorkerPool(1, _MEMORY, 30.0)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(60), pool.running():
            await pool.warm()
    assert caught.group_contains(workers.PoolError)
