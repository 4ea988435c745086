"""A warm pool of worker processes, recycled after 200 analyses or any fault, killed at their deadline."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

import orjson
import structlog

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh_kit.errors import ServiceError

log = structlog.get_logger()

_RECYCLE_AFTER = 200
_STATUS = {"INVALID_ARGUMENT": "INVALID_ARGUMENT", "ANALYZER_RESOURCE": "RESOURCE_EXHAUSTED"}


@dataclass(slots=True)
class _Worker:
    process: ForkServerProcess
    connection: Connection
    served: int = 0


class WorkerPool:
    """Runs analyses in other processes."""

    def __init__(self, size: int, memory_bytes: int) -> None:
        """Takes the number of workers and the address space of each in bytes."""
        self._size = size
        self._memory = memory_bytes
        self._idle: asyncio.Queue[_Worker | None] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")

    async def start(self) -> None:
        """Starts the fork server with Qiskit preloaded, and the workers."""
        self._context.set_forkserver_preload(["qmesh_analyzer.work"])
        for _ in range(self._size):
            self._idle.put_nowait(await asyncio.to_thread(self._spawn))

    def _spawn(self) -> _Worker:
        from qmesh_analyzer.entry import run_worker

        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=run_worker, args=(theirs, self._memory), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    async def analyze(
        self, header: bytes, blobs: Sequence[bytes], rows_bytes: Sequence[int], timeout_seconds: float
    ) -> analysis.AnalyzeResponse:
        """One analysis.

        Raises:
            ServiceError: typed failure; DEADLINE_EXCEEDED when the worker had to be killed.
        """
        async with asyncio.timeout(timeout_seconds):
            worker = await self._idle.get() or await asyncio.to_thread(self._spawn)
        keep = False
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await asyncio.to_thread(
                    self._exchange, worker, [header, orjson.dumps(list(rows_bytes)), *blobs]
                )
            worker.served += 1
            keep = worker.served < _RECYCLE_AFTER
        except TimeoutError:
            raise ServiceError(
                "DEADLINE_EXCEEDED", "the analysis did not end in time", status="DEADLINE_EXCEEDED"
            ) from None
        except (EOFError, OSError):
            raise ServiceError(
                "ANALYZER_RESOURCE", "the analysis process died, most likely for memory", status="RESOURCE_EXHAUSTED"
            ) from None
        finally:
            self._idle.put_nowait(worker if keep else None)
            if not keep:
                self._end(worker)
        return self._decode(answer)

    @staticmethod
    def _exchange(worker: _Worker, frames: Sequence[bytes]) -> bytes:
        worker.connection.send_bytes(len(frames).to_bytes(8, "little"))
        for frame in frames:
            worker.connection.send_bytes(frame)
        return worker.connection.recv_bytes()

    @staticmethod
    def _end(worker: _Worker) -> None:
        worker.process.kill()  # ends a thread that still waits for its answer, too
        log.info("worker recycled", served=worker.served)

    @staticmethod
    def _decode(answer: bytes) -> analysis.AnalyzeResponse:
        if answer[:1] == b"R":
            return analysis.AnalyzeResponse.FromString(answer[1:])
        code, message = orjson.loads(answer[1:])
        raise ServiceError(code, message, status=_STATUS.get(code, "FAILED_PRECONDITION"))

    def stop(self) -> None:
        """Ends all idle workers; busy ones end with their pipes."""
        while not self._idle.empty():
            worker = self._idle.get_nowait()
            if worker is not None:
                worker.process.kill()
