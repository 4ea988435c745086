"""AnalyzerService: takes the parts of a request in and hands them to a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.analyzer.v1 import analyzer_pb2_grpc as stubs
from qmesh_analyzer.adapters.workers import WorkerPool
from qmesh_kit.errors import ServiceError

_LIMIT = 64 << 20


class AnalyzerServicer(stubs.AnalyzerServiceServicer):
    """The gRPC face of the worker pool."""

    def __init__(self, pool: WorkerPool, timeout_seconds: float) -> None:
        """Takes the pool and the longest time of one analysis."""
        self._pool = pool
        self._timeout = timeout_seconds

    async def Analyze(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[analysis.AnalyzeRequest], context: grpc.aio.ServicerContext
    ) -> analysis.AnalyzeResponse:
        """Analyses one parameter set of one job."""
        header, blobs, rows_bytes = await gather(request_iterator)
        remaining = context.time_remaining()
        timeout = min(self._timeout, remaining * 0.95) if remaining is not None else self._timeout
        return await self._pool.analyze(header, blobs, rows_bytes, timeout)


async def gather(
    parts: AsyncIterator[analysis.AnalyzeRequest],
) -> tuple[bytes, list[bytes], list[int]]:
    """Header bytes, bytes of every component, and how many of them are rows.

    Raises:
        ServiceError: INVALID_ARGUMENT, when the parts do not fit together.
    """
    header: analysis.AnalysisHeader | None = None
    buffers: list[bytearray] = []
    rows_bytes: list[int] = []
    total = 0
    async for part in parts:
        if part.WhichOneof("part") == "header":
            if header is not None:
                raise _invalid("a second header")
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
        if total > _LIMIT:
            raise _invalid(f"more than {_LIMIT >> 20} MiB of rows")
        buffers[chunk.component] += chunk.data
        rows_bytes[chunk.component] = chunk.rows_bytes
    if header is None:
        raise _invalid("no header")
    return header.SerializeToString(), [bytes(b) for b in buffers], rows_bytes


def _invalid(what: str) -> ServiceError:
    return ServiceError("INVALID_ARGUMENT", f"the analysis request has {what}", status="INVALID_ARGUMENT")
