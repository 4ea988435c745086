"""Composition root of the analyzer; imports no Qiskit and no NumPy, its workers do."""

from __future__ import annotations

import asyncio

from qmesh.analyzer.v1 import analyzer_pb2_grpc as stubs
from qmesh_analyzer.adapters.grpc_server import AnalyzerServicer
from qmesh_analyzer.adapters.workers import PoolError, WorkerPool
from qmesh_analyzer.settings import Settings
from qmesh_kit.rpc import RpcServer
from qmesh_kit.runner import FatalError, Service, run_service
from qmesh_kit.settings import load

_MAX_MESSAGE = 32 << 20  # a header carries the whole circuit, the counts and the recorded columns
_ADMITTED_PER_WORKER = 4


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service; it listens at once, and takes work when its workers are warm."""
    section = settings.analyzer
    pool = WorkerPool(section.workers, section.worker_memory, section.timeout, service.metrics)
    server = RpcServer(
        metrics=service.metrics, max_concurrent=section.max_concurrent, max_message=_MAX_MESSAGE
    )
    servicer = AnalyzerServicer(pool, section.rows_limit, _ADMITTED_PER_WORKER * section.workers)
    stubs.add_AnalyzerServiceServicer_to_server(servicer, server.grpc)
    await server.set_serving(serving=False)
    address = server.listen(section.listen, tls=settings.tls)
    try:
        async with pool.running():
            await server.start()
            if await _warm(pool, service):
                await server.set_serving(serving=True)
                service.ready({"grpc": address})
                await service.stopping.wait()
            await server.stop(section.drain)
    except* PoolError as errors:
        raise FatalError(str(errors.exceptions[0])) from None


async def _warm(pool: WorkerPool, service: Service) -> bool:
    """Waits for the workers; False when the service is asked to stop before."""
    tasks = [asyncio.ensure_future(pool.warm()), asyncio.ensure_future(service.stopping.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return not service.stopping.is_set()


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("analyzer", lambda s: serve(s, settings), settings, section=settings.analyzer)


if __name__ == "__main__":
    main()
