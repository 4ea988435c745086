"""A warm pool of worker processes, recycled after 200 analyses or any fault, killed at their deadline."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess

import orjson
import structlog

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh_analyzer import framing
from qmesh_analyzer.entry import run_worker
from qmesh_kit.errors import ServiceError
from qmesh_kit.metrics import Metrics

log = structlog.get_logger()

PRELOAD = ["qmesh_analyzer.nursery", "qmesh_analyzer.work"]
LOST = "ANALYZER_WORKER_LOST"
_RECYCLE_AFTER = 200
_HEAVY = range(17, 23)
"""Qubits whose amplitudes leave a heap that is better given back; above there are no amplitudes."""
_START_SECONDS = 30.0
_FEWEST_STARTS = 3
_STATUS = {"ANALYZER_RESOURCE": "RESOURCE_EXHAUSTED"}


class PoolError(Exception):
    """No worker comes up."""


@dataclass(eq=False, slots=True)
class _Worker:
    process: ForkServerProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    served: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class WorkerPool:
    """Runs analyses in other processes."""

    def __init__(
        self, size: int, memory_bytes: int, timeout_seconds: float, metrics: Metrics | None = None
    ) -> None:
        """Takes the number of workers, the bytes that an analysis may have, and the seconds of the longest."""
        self._size = size
        self._memory = memory_bytes
        self._timeout = timeout_seconds
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._live: set[_Worker] = set()
        self._warm = asyncio.Event()
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._starting = asyncio.Lock()
        self._alive = metrics.gauge("qmesh_analyzer_workers", "Warm workers") if metrics else None
        self._ended = (
            metrics.counter("qmesh_analyzer_workers_ended", "Workers ended", ("reason",)) if metrics else None
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps the workers alive; they start in the background, see `warm`.

        Raises:
            PoolError: workers do not come up.
        """
        self._context.set_forkserver_preload(PRELOAD)
        async with asyncio.TaskGroup() as group:
            slots = [group.create_task(self._slot(), name=f"worker-{number}") for number in range(self._size)]
            try:
                yield
            finally:
                for slot in slots:
                    slot.cancel()

    async def warm(self) -> None:
        """Returns when every worker is warm for the first time."""
        await self._warm.wait()

    @property
    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return sorted(worker.process.pid or 0 for worker in self._live)

    async def analyze(
        self,
        header: bytes,
        blobs: Sequence[bytes],
        rows_bytes: Sequence[int],
        *,
        qubits: int,
        timeout_seconds: float,
    ) -> analysis.AnalyzeResponse:
        """One analysis, within a time that includes waiting for a worker.

        Raises:
            ServiceError: typed; what is worth another try has `retry_after`.
        """
        parts = [framing.ANALYZE, header, orjson.dumps(list(rows_bytes)), *blobs]
        answer = await self._run(parts, qubits=qubits, timeout_seconds=timeout_seconds)
        return analysis.AnalyzeResponse.FromString(bytes(answer))

    async def factor(
        self, request: analysis.FactorRequest, timeout_seconds: float
    ) -> tuple[analysis.FactorHeader, memoryview]:
        """The ideal state as factors: their header, and the factors of each component, one behind the other.

        Raises:
            ServiceError: as `analyze`.
        """
        parts = [framing.FACTOR, request.SerializeToString()]
        qubits = request.circuit.num_qubits
        answer = await self._run(parts, qubits=qubits, timeout_seconds=timeout_seconds)
        begin = framing.WORD + framing.number(bytes(answer[: framing.WORD]))
        return analysis.FactorHeader.FromString(bytes(answer[framing.WORD : begin])), answer[begin:]

    async def _run(self, parts: Sequence[bytes], *, qubits: int, timeout_seconds: float) -> memoryview:
        """One request to a worker; its answer without the kind.

        Raises:
            ServiceError: typed; what is worth another try has `retry_after`.
        """
        worker: _Worker | None = None
        keep = False
        try:
            async with asyncio.timeout(min(timeout_seconds, self._timeout)):
                worker = await self._take()
                answer = await self._exchange(worker, parts)
            worker.served += 1
            keep = worker.served < _RECYCLE_AFTER and qubits not in _HEAVY
        except TimeoutError:
            if worker is None:
                raise ServiceError("UNAVAILABLE", "all analysis workers are busy", retry_after=0.5) from None
            raise ServiceError("DEADLINE_EXCEEDED", "the analysis did not end in time") from None
        except (EOFError, OSError):
            raise ServiceError(
                LOST,
                "the process of this analysis died, most likely for memory",
                status="UNAVAILABLE",
                retry_after=0.1,
            ) from None
        finally:
            if worker is not None:
                if keep:
                    self._idle.put_nowait(worker)
                else:
                    worker.gone.set()
        return _decoded(answer)

    async def _take(self) -> _Worker:
        while True:
            worker = await self._idle.get()
            if not worker.gone.is_set():
                return worker

    @staticmethod
    async def _exchange(worker: _Worker, parts: Sequence[bytes]) -> bytes:
        for piece in framing.frames(parts):
            worker.writer.write(piece)
        await worker.writer.drain()
        return await _answer(worker.reader)

    async def _slot(self) -> None:
        """Keeps one worker alive for ever."""
        failures = 0
        while True:
            try:
                worker = await self._start()
            except (EOFError, OSError, TimeoutError) as error:
                failures += 1
                log.warning("a worker did not start", failures=failures, error=repr(error))
                if failures >= _FEWEST_STARTS and not self._warm.is_set():
                    raise PoolError("the analysis workers do not come up") from None
                await asyncio.sleep(min(5.0, 0.1 * 2**failures))
                continue
            failures = 0
            await self._keep(worker)

    async def _keep(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(worker.process.sentinel, worker.gone.set)
        self._live.add(worker)
        self._count()
        if len(self._live) == self._size:
            self._warm.set()
        try:
            self._idle.put_nowait(worker)
            await worker.gone.wait()
        finally:
            loop.remove_reader(worker.process.sentinel)
            self._live.discard(worker)
            self._count()
            await self._end(worker)

    async def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        arguments = (theirs, self._memory, int(2 * self._timeout) + 1)
        process = self._context.Process(target=run_worker, args=arguments, daemon=True)
        try:
            async with self._starting:  # the library's start is not made for threads
                await asyncio.shield(asyncio.to_thread(process.start))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        worker = _Worker(process, reader, writer)
        try:
            async with asyncio.timeout(_START_SECONDS):
                _decoded(await _answer(reader))
        except BaseException:
            await self._end(worker)
            raise
        return worker

    async def _end(self, worker: _Worker) -> None:
        reason = "recycled" if worker.process.is_alive() else "died"
        worker.process.kill()
        worker.writer.close()
        await asyncio.to_thread(worker.process.join)  # freeing gigabytes takes its time
        log.info("worker ended", reason=reason, served=worker.served, exit_code=worker.process.exitcode)
        worker.process.close()
        if self._ended is not None:
            self._ended.labels(reason).inc()

    def _count(self) -> None:
        if self._alive is not None:
            self._alive.set(len(self._live))


async def _answer(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(framing.number(await reader.readexactly(framing.WORD)))


def _decoded(answer: bytes) -> memoryview:
    if answer[:1] == b"R":
        return memoryview(answer)[1:]
    code, message = orjson.loads(answer[1:])
    raise ServiceError(code, message, status=_STATUS.get(code))
