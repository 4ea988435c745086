"""Small circuits are planned in place; what may take more than 20 ms goes to a process of its own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process

import orjson
import structlog

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh_kit.errors import ServiceError
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
        self._process: Process | None = None
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

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            weights = self._weights
            numbers = (weights.latency, weights.risk, weights.ebit, weights.load)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "qmesh_planner.worker", *map(str, numbers), stdin=PIPE, stdout=PIPE
            )
        return self._process

    async def _exchange(self, body: bytes) -> bytes:
        process = await self._started()
        if process.stdin is None or process.stdout is None:
            raise ServiceError("INTERNAL", "the compiler process has no pipes")
        done = False
        try:
            process.stdin.write(len(body).to_bytes(4, "big") + body)
            await process.stdin.drain()
            size = int.from_bytes(await process.stdout.readexactly(4), "big")
            answer = await process.stdout.readexactly(size)
            done = True
        except (asyncio.IncompleteReadError, ConnectionError):
            log.warning("the compiler process died", pid=process.pid)
            raise ServiceError(
                "UNAVAILABLE", "the compiler process died; try again", retry_after=0.5
            ) from None
        finally:
            if not done:  # a half-read answer must not meet the next question
                self._discard(process)
        return answer

    def _discard(self, process: Process) -> None:
        if process.returncode is None:
            process.kill()
        self._process = None

    async def stop(self) -> None:
        """Ends the process."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
