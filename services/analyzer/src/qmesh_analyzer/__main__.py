"""Composition root of the analyzer; imports no Qiskit, its workers do."""

from __future__ import annotations

from qmesh.analyzer.v1 import analyzer_pb2_grpc as stubs
from qmesh_analyzer.adapters.grpc_server import AnalyzerServicer
from qmesh_analyzer.adapters.workers import WorkerPool
from qmesh_analyzer.settings import Settings
from qmesh_kit.rpc import RpcServer
from qmesh_kit.runner import Service, run_service
from qmesh_kit.settings import load


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.analyzer
    pool = WorkerPool(section.workers, section.worker_memory)
    await pool.start()
    server = RpcServer(metrics=service.metrics, max_concurrent=section.max_concurrent)
    stubs.add_AnalyzerServiceServicer_to_server(AnalyzerServicer(pool, section.timeout), server.grpc)
    address = server.listen(section.listen, tls=settings.tls)
    await server.start()
    await server.set_serving(serving=True)
    service.ready({"grpc": address})
    await service.stopping.wait()
    await server.stop(section.drain)
    pool.stop()


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("analyzer", lambda s: serve(s, settings), settings, section=settings.analyzer)


if __name__ == "__main__":
    main()
