"""AnalyzerService: takes the parts of a request in and hands them to a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc.aio

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.analyzer.v1 import analyzer_pb2_grpc as stubs
from qmesh_analyzer.adapters.workers import WorkerPool
from qmesh_kit.errors import ServiceError

_NO_DEADLINE = 3600.0
_MOST_COMPONENTS = 4096
_CHUNK = 1 << 20
_AMPLITUDE = 16


@dataclass(frozen=True, slots=True)
class Gathered:
    """A whole request.

    Attributes:
        header: serialised header.
        qubits: width of the circuit.
        blobs: bytes of every component.
        rows_bytes: how many of them are rows.
    """

    header: bytes
    qubits: int
    blobs: list[bytes]
    rows_bytes: list[int]


class AnalyzerServicer(stubs.AnalyzerServiceServicer):
    """The gRPC face of the worker pool."""

    def __init__(self, pool: WorkerPool, rows_limit: int, admitted: int) -> None:
        """Takes the pool, the most bytes of rows of one request, and how many requests are read at once.

        The others wait unread: flow control then holds their bytes at the caller.
        """
        self._pool = pool
        self._rows_limit = rows_limit
        self._admitted = asyncio.Semaphore(admitted)

    async def Analyze(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[analysis.AnalyzeRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> analysis.AnalyzeResponse:
        """Analyses one parameter set of one job."""
        async with self._admitted:
            try:
                whole = await gather(request_iterator, self._rows_limit)
            except ServiceError:
                async for _ in request_iterator:  # a client that is refused while it writes sees no reason
                    pass
                raise
            remaining = context.time_remaining()
            return await self._pool.analyze(
                whole.header,
                whole.blobs,
                whole.rows_bytes,
                qubits=whole.qubits,
                timeout_seconds=_NO_DEADLINE if remaining is None else remaining * 0.95,
            )

    async def Factor(  # noqa: N802 - the contract's name
        self,
        request: analysis.FactorRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[analysis.FactorResponse]:
        """The ideal state as factors over components."""
        async with self._admitted:
            remaining = context.time_remaining()
            header, data = await self._pool.factor(
                request, _NO_DEADLINE if remaining is None else remaining * 0.95
            )
            yield analysis.FactorResponse(header=header)
            begin = 0
            for number, component in enumerate(request.components):
                size = _AMPLITUDE * len(header.weights) << len(component.wires)
                for offset in range(0, size, _CHUNK):
                    piece = bytes(data[begin + offset : begin + min(offset + _CHUNK, size)])
                    chunk = analysis.FactorChunk(component=number, offset=offset, data=piece)
                    yield analysis.FactorResponse(chunk=chunk)
                begin += size


async def gather(parts: AsyncIterator[analysis.AnalyzeRequest], rows_limit: int) -> Gathered:
    """All parts of a request.

    Raises:
        ServiceError: INVALID_ARGUMENT, when the parts do not fit together; RESOURCE_EXHAUSTED above the limit.
    """
    header: analysis.AnalysisHeader | None = None
    buffers: list[bytearray] = []
    rows_bytes: list[int] = []
    total = 0
    async for part in parts:
        if part.WhichOneof("part") == "header":
            if header is not None or len(part.header.rows) > _MOST_COMPONENTS:
                raise _invalid("a second header" if header is not None else "too many components")
            header = part.header
            buffers = [bytearray() for _ in header.rows]
            rows_bytes = [0] * len(header.rows)
            continue
        if header is None:
            raise _invalid("rows before the header")
        chunk = part.chunk
        if chunk.component >= len(buffers) or chunk.offset != len(buffers[chunk.component]):
            raise _invalid("a chunk that is out of place")
        total += len(chunk.data)
        if total > rows_limit:
            raise ServiceError(
                "ROWS_TOO_LARGE", f"more than {rows_limit} bytes of rows", status="RESOURCE_EXHAUSTED"
            )
        buffers[chunk.component] += chunk.data
        rows_bytes[chunk.component] = chunk.rows_bytes
    if header is None:
        raise _invalid("no header")
    return Gathered(
        header.SerializeToString(), header.circuit.num_qubits, [bytes(b) for b in buffers], rows_bytes
    )


def _invalid(what: str) -> ServiceError:
    return ServiceError("INVALID_ARGUMENT", f"the analysis request has {what}")
