"""Small circuits are planned in place; what may take more than 20 ms goes to a process of its own."""

from __future__ import annotations

import asyncio
import sys

import orjson
import structlog

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh_kit.errors import ServiceError
from qmesh_kit.launch import Worker, start_worker
from qmesh_model.errors import MeshError
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights
from qmesh_planner.worker import PLAN

log = structlog.get_logger()

_SMALL = 48  # operations; measured: 31 fragments over four nodes take 4 ms, 106 take 90 ms


class ProcessCompiler:
    """Compiles; satisfies the `Compiler` port."""

    def __init__(self, weights: Weights, timeout_seconds: float) -> None:
        """Takes the weights of every plan and the longest time for one."""
        self._weights = weights
        self._timeout = timeout_seconds
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()

    async def compile(self, request: planner.CompileRequest) -> bytes:
        """The plan's bytes."""
        if len(request.circuit.operations) <= _SMALL:
            return make_plan(request, self._weights).SerializeToString(deterministic=True)
        body = request.SerializeToString()
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                answer = await self._exchange(body)
        except TimeoutError:
            raise ServiceError(
                "DEADLINE_EXCEEDED", f"no plan within {self._timeout:g} s", status="DEADLINE_EXCEEDED"
            ) from None
        if answer[:1] == PLAN:
            return answer[1:]
        code, message, details = orjson.loads(answer[1:])
        raise MeshError(code, message, details=details)

    async def warm(self) -> None:
        """Starts the process before it is needed."""
        async with self._turn:
            await self._started()

    async def _started(self) -> Worker:
        if self._worker is not None and not self._worker.lives:
            await self._end()
        if self._worker is None:
            weights = self._weights
            numbers = (weights.latency, weights.risk, weights.ebit, weights.load)
            self._worker = await start_worker(
                [sys.executable, "-m", "qmesh_planner.worker", *map(str, numbers)]
            )
        return self._worker

    async def _exchange(self, body: bytes) -> bytes:
        worker = await self._started()
        done = False
        try:
            worker.writer.write(len(body).to_bytes(4, "big") + body)
            await worker.writer.drain()
            size = int.from_bytes(await worker.reader.readexactly(4), "big")
            answer = await worker.reader.readexactly(size)
            done = True
        except (asyncio.IncompleteReadError, ConnectionError):
            log.warning("the compiler process died", pid=worker.process.pid)
            raise ServiceError(
                "UNAVAILABLE", "the compiler process died; try again", retry_after=0.5
            ) from None
        finally:
            if not done:  # a half-read answer must not meet the next question
                await self._end()
        return answer

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.kill()

    async def stop(self) -> None:
        """Ends the process."""
        await self._end()
