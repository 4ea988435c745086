"""The real process: gRPC, workers that die, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import grpc.aio
import numpy as np
import orjson
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.analyzer.v1 import analyzer_pb2_grpc as stubs
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcChannel

_CHUNK = 48  # small, so that rows come in many pieces


@dataclass
class Running:
    """One analyzer process."""

    process: subprocess.Popen[bytes]
    address: str

    def workers(self) -> list[psutil.Process]:
        """Worker processes: children of the fork server."""
        return [
            worker
            for child in psutil.Process(self.process.pid).children()
            for worker in child.children()
            if child.is_running()
        ]


def _launch(folder: Path, **more: str) -> Running:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QMESH_")} | {
        "QMESH_READY_FILE": str(folder / "ready"),
        "QMESH_ANALYZER__LISTEN": f"unix:{folder / 'grpc'}",
        "QMESH_ANALYZER__WORKERS": "2",
        "QMESH_ANALYZER__DRAIN": "5s",
        **more,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "qmesh_analyzer"], env=environment, stderr=subprocess.PIPE
    )
    return Running(process, environment["QMESH_ANALYZER__LISTEN"])


def _end(running: Running) -> None:
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A process that stays for the tests of this module."""
    started = _launch(tmp_path_factory.mktemp("analyzer"))
    try:
        asyncio.run(_serving(started.address))
        yield started
    finally:
        _end(started)


async def _serving(target: str) -> None:
    """Returns when the health service says SERVING, told by its own stream."""
    import grpc

    async with asyncio.timeout(30), grpc.aio.insecure_channel(target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), wait_for_ready=True
        )
        async for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                watch.cancel()
                return


async def _parts(request: Any) -> AsyncIterator[analysis.AnalyzeRequest]:
    yield analysis.AnalyzeRequest(header=request.header)
    for component, (data, rows_bytes) in enumerate(request.blobs):
        for offset in range(0, len(data), _CHUNK):
            piece = data[offset : offset + _CHUNK]
            chunk = analysis.RowsChunk(component=component, offset=offset, data=piece, rows_bytes=rows_bytes)
            yield analysis.AnalyzeRequest(chunk=chunk)


def _stub(channel: RpcChannel) -> stubs.AnalyzerServiceAsyncStub:
    """Generated stubs are typed for grpc's own channel, of which they call only what `RpcChannel` has."""
    return stubs.AnalyzerServiceStub(cast("grpc.aio.Channel", channel))


async def _analyze(target: str, request: Any, seconds: float = 20.0) -> analysis.AnalyzeResponse:
    channel = RpcChannel(target, default_timeout=seconds)
    try:
        return await _stub(channel).Analyze(_parts(request))
    finally:
        await channel.close()


def _slow(lab: ModuleType, qubits: int = 22, gates: int = 400) -> Any:
    """Some seconds of arithmetic on amplitudes, which these gates need."""
    pairs = [(k % (qubits - 1), k % (qubits - 1) + 1, k) for k in range(gates)]
    body = "\n".join(f"cu(0.1, 0.2, 0.3, {k}.5) q[{a}], q[{b}];" for a, b, k in pairs)
    return lab.request(f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[{qubits}] q;\n{body}')


async def test_seed_example_is_analysed_with_streamed_rows(running: Running, seed_request: Any) -> None:
    """Counts and rows in many chunks come back as the whole quantum result, made by Qiskit's version."""
    response = await _analyze(running.address, seed_request)
    document = orjson.loads(response.quantum_result_json)
    assert response.status == analysis.ANALYSIS_STATUS_COMPLETE
    assert document["probabilities"] == pytest.approx({"00": 0.5, "10": 0.5})
    assert document["bloch_vectors"]["q1"] == pytest.approx([1, 0, 0])
    assert document["fidelity"]["fidelity_to_target_state"] == pytest.approx(1)
    assert document["distribution_fidelity"]["hellinger"] == pytest.approx(1)
    assert response.qiskit_version
    assert 0 <= response.cpu_seconds < 20  # a coarse clock may see nothing of so short a task


async def test_partial_analysis_names_its_code(running: Running, lab: ModuleType) -> None:
    """Without rows the analysis is partial and says so by a stable code."""
    response = await _analyze(running.address, lab.request(lab.example("seed"), counts={"0": 4}))
    assert response.status == analysis.ANALYSIS_STATUS_PARTIAL
    assert response.code == "NO_ROWS"


@pytest.mark.parametrize("harm", ["empty", "chunk first", "gap", "two headers", "gate"])
async def test_requests_that_make_no_sense_are_invalid(
    running: Running, seed_request: Any, harm: str
) -> None:
    """Parts that do not fit together, and circuits that no parser made, are INVALID_ARGUMENT."""
    parts = [part async for part in _parts(seed_request)]
    if harm == "gate":
        parts[0].header.circuit.operations[0].name = "warp"
        parts[0].header.circuit.operations[0].parameters.add(value=1)
        parts[0].header.circuit.operations[1].qubits[0] = 99
    sent = {
        "empty": [],
        "chunk first": parts[1:],
        "gap": [parts[0], *parts[2:]],
        "two headers": [parts[0], *parts],
    }.get(harm, parts)

    async def stream() -> AsyncIterator[analysis.AnalyzeRequest]:
        for part in sent:
            yield part

    channel = RpcChannel(running.address, default_timeout=10)
    with pytest.raises(ServiceError) as caught:
        await _stub(channel).Analyze(stream())
    await channel.close()
    assert caught.value.status == "INVALID_ARGUMENT", caught.value


async def test_factors_come_in_chunks(running: Running, lab: ModuleType) -> None:
    """The factors of a state of 18 qubits arrive in order, normalised, and are the ideal state; a worker tells why there are none."""
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[18] q;\nry(0.4) q;\nh q[17];'
    form = lab.request(text).header.circuit
    request = analysis.FactorRequest(
        circuit=form,
        final_wires=range(18),
        components=[analysis.ComponentWires(wires=wires) for wires in ([17], range(17))],
    )
    channel = RpcChannel(running.address, default_timeout=20)
    try:
        header, *chunks = [piece async for piece in _stub(channel).Factor(request)]
        assert list(header.header.weights) == pytest.approx([1])
        assert header.header.remainder == 0
        assert [(c.chunk.component, c.chunk.offset) for c in chunks] == [(0, 0), (1, 0), (1, 1 << 20)]
        one, many = (
            np.frombuffer(
                b"".join(c.chunk.data for c in chunks if c.chunk.component == k), dtype=np.complex128
            )
            for k in (0, 1)
        )
        sine, cosine = np.sin(0.2), np.cos(0.2)
        assert np.abs(one) == pytest.approx(np.array([cosine + sine, cosine - sine]) / 2**0.5)
        assert abs(many[0]) == pytest.approx(cosine**17)
        assert np.linalg.norm(many) == pytest.approx(1)
        request.components[0].wires.append(99)
        with pytest.raises(ServiceError) as caught:
            [piece async for piece in _stub(channel).Factor(request)]
        assert caught.value.code == "INVALID_ARGUMENT"
    finally:
        await channel.close()


async def test_killed_worker_is_a_retryable_error_and_the_pool_heals(
    running: Running, lab: ModuleType, seed_request: Any
) -> None:
    """Killing every worker during an analysis fails that call alone, typed and retryable; the next one succeeds."""
    call = asyncio.ensure_future(_analyze(running.address, _slow(lab)))
    workers = running.workers()
    assert len(workers) == 2
    async with asyncio.timeout(10):
        while not any(worker.cpu_times().user > 0.5 for worker in workers):
            await asyncio.wait([call], timeout=0.02)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    with pytest.raises(ServiceError) as caught:
        await call
    assert (caught.value.code, caught.value.status) == ("ANALYZER_WORKER_LOST", "UNAVAILABLE")
    assert caught.value.retry_after is not None
    response = await _analyze(running.address, seed_request)
    assert response.status == analysis.ANALYSIS_STATUS_COMPLETE
    assert not {worker.pid for worker in workers} & {worker.pid for worker in running.workers()}


async def test_deadline_kills_the_worker_and_not_the_service(
    running: Running, lab: ModuleType, seed_request: Any
) -> None:
    """An analysis that outlives its caller's deadline ends with it, and the service goes on."""
    with pytest.raises(ServiceError) as caught:
        await _analyze(running.address, _slow(lab), seconds=0.5)
    assert caught.value.status == "DEADLINE_EXCEEDED"
    assert (await _analyze(running.address, seed_request)).status == analysis.ANALYSIS_STATUS_COMPLETE


def test_front_maps_neither_qiskit_nor_numpy(running: Running) -> None:
    """The front process has no library of Qiskit, Aer or NumPy in its memory; its workers have."""

    def mapped(process: psutil.Process) -> str:
        return " ".join(entry.path for entry in process.memory_maps())

    front = mapped(psutil.Process(running.process.pid))
    assert not any(name in front for name in ("qiskit", "numpy"))
    assert all("qiskit" in mapped(worker) for worker in running.workers())


def test_workers_are_limited(running: Running) -> None:
    """Each worker has a limit on its address space and on its files."""
    for worker in running.workers():
        soft, hard = worker.rlimit(psutil.RLIMIT_AS)
        assert 4 << 30 < soft == hard < 8 << 30
        assert worker.rlimit(psutil.RLIMIT_NOFILE) == (64, 64)


async def _is_seen(started: Running, call: asyncio.Future[Any]) -> bool:
    """Whether a worker was seen at work before the analysis ended."""
    workers = started.workers()
    try:
        while not any(worker.cpu_percent() for worker in workers):
            await asyncio.wait([call], timeout=0.02)
            if call.done():
                return False
    except psutil.NoSuchProcess:
        return False
    return not call.done()


async def test_sigterm_drains_and_leaves_no_process(tmp_path: Path, lab: ModuleType) -> None:
    """SIGTERM lets the analysis in progress end, exits with 0, and no worker outlives the front."""
    started = _launch(tmp_path)
    try:
        await _serving(started.address)
        ready = json.loads((tmp_path / "ready").read_text())
        assert ready["ports"]["grpc"] == started.address
        wide = _slow(lab, qubits=20, gates=200)  # ends within the drain
        async with asyncio.timeout(60):
            while not await _is_seen(started, call := asyncio.ensure_future(_analyze(started.address, wide))):
                await call  # it ended before a look at it
        family = psutil.Process(started.process.pid).children(recursive=True)
        for process in [psutil.Process(started.process.pid), *family]:  # as to a whole group
            process.terminate()
        response = await call
        assert response.status == analysis.ANALYSIS_STATUS_PARTIAL
        assert await asyncio.to_thread(started.process.wait, 10) == 0
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, 5)
        assert alive == []
    finally:
        _end(started)


def test_sigterm_during_the_start_ends_the_process(tmp_path: Path) -> None:
    """A process that is asked to stop before its workers are warm ends with 0 and was never ready."""
    started = _launch(tmp_path)
    try:
        path = Path(started.address.removeprefix("unix:"))
        while not path.exists():
            assert started.process.poll() is None
        started.process.terminate()
        assert started.process.wait(10) == 0
        assert not (tmp_path / "ready").exists()
    finally:
        _end(started)


def test_bad_settings_are_named_and_refused(tmp_path: Path) -> None:
    """A setting out of range ends the process with 78 and the name of the variable."""
    started = _launch(tmp_path, QMESH_ANALYZER__WORKERS="0")
    _, text = started.process.communicate(timeout=20)
    assert started.process.returncode == 78
    assert b"QMESH_ANALYZER__WORKERS" in text
