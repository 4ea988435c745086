"""Composition root of the planner."""

from __future__ import annotations

import asyncio
from pathlib import Path

from qmesh.planner.v1 import planner_pb2_grpc as stubs
from qmesh_kit.rpc import RpcChannel, RpcServer
from qmesh_kit.runner import Service, run_service
from qmesh_kit.settings import load
from qmesh_kit.sql import migrate, open_pool
from qmesh_planner.adapters.compiler import ProcessCompiler
from qmesh_planner.adapters.grpc_server import PlannerServicer
from qmesh_planner.adapters.postgres import PostgresPlans
from qmesh_planner.adapters.registry import RegistrySnapshots
from qmesh_planner.application import PlannerService
from qmesh_planner.domain.weights import Weights
from qmesh_planner.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
_CALL = 5.0


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.planner
    weights = Weights(section.weight_latency, section.weight_risk, section.weight_ebit, section.weight_load)
    if settings.postgres.migrate_on_start:
        await migrate(settings.postgres, "planner", MIGRATIONS)
    channel = RpcChannel(section.registry, default_timeout=_CALL, tls=settings.tls)
    compiler = ProcessCompiler(weights, section.compile_timeout)
    snapshots = RegistrySnapshots(channel)
    async with open_pool(settings.postgres, "planner") as pool:
        planner = PlannerService(PostgresPlans(pool), snapshots, compiler, section.cached_plans)
        server = RpcServer(metrics=service.metrics, max_concurrent=section.max_concurrent)
        stubs.add_PlannerServiceServicer_to_server(PlannerServicer(planner), server.grpc)
        address = server.listen(section.listen, tls=settings.tls)
        await server.start()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(snapshots.watch(service.stopping))
            await server.set_serving(serving=True)
            service.ready({"grpc": address})
            group.create_task(compiler.warm())
            await service.stopping.wait()
            await server.stop(section.drain)
            watch.cancel()
    await compiler.stop()
    await channel.close()


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("planner", lambda s: serve(s, settings), settings, section=settings.planner)


if __name__ == "__main__":
    main()
