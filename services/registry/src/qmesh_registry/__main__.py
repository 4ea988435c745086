"""Composition root of the registry."""

from __future__ import annotations

import asyncio
from pathlib import Path

from qmesh.events.v1 import events_pb2 as events
from qmesh.registry.v1 import registry_pb2_grpc as stubs
from qmesh_fabric.errors import ListenError
from qmesh_fabric.identity import load_or_create
from qmesh_kit import logs
from qmesh_kit.bus import Bus, BusError, connect_bus
from qmesh_kit.documents import PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS, Relay, open_documents
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcServer
from qmesh_kit.runner import FatalError, Service, run_service
from qmesh_kit.settings import load
from qmesh_kit.sql import migrate, open_pool
from qmesh_kit.tasks import every
from qmesh_registry.adapters.fabric import RegistryFabric
from qmesh_registry.adapters.grpc_server import RegistryServicer
from qmesh_registry.adapters.postgres import OUTBOX, PostgresRegistry
from qmesh_registry.application import Registry
from qmesh_registry.settings import Settings

log = logs.get(service="registry")

MIGRATIONS = Path(__file__).parent / "migrations"
COLLECTIONS = (PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS)
_SAVE_PERIOD = 5.0


async def _announce(registry: Registry, bus: Bus) -> None:
    async for snapshot in registry.watch():
        message = events.SnapshotChanged(snapshot_id=snapshot.snapshot_id, version=snapshot.version)
        await bus.emit("qmesh.events.snapshot", message.SerializeToString())


async def _die_with(fabric: RegistryFabric, service: Service) -> None:
    """Ends the process when libp2p dies."""
    assert fabric.thread.done is not None  # noqa: S101 - set by start
    error = await asyncio.shield(fabric.thread.done)
    if not service.stopping.is_set():
        raise FatalError(f"libp2p ended: {error!r}")


async def _save_last(registry: Registry) -> None:
    try:
        await registry.save()
    except ServiceError as error:
        log.warning("the peers of the last seconds were not saved", error=str(error))


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.registry
    if settings.postgres.migrate_on_start:
        await migrate(settings.postgres, "registry", MIGRATIONS)
    try:
        async with (
            open_pool(settings.postgres, "registry") as pool,
            connect_bus(settings.nats, "registry") as bus,
            open_documents(settings, pool, "registry", COLLECTIONS) as documents,
        ):
            token = section.pool_token.get_secret_value() if section.pool_token else None
            registry = Registry(
                PostgresRegistry(pool),
                pool_token=token,
                advert_period=section.advert_period,
                unknown_peers=section.unknown_peers,
            )
            await registry.restore()
            fabric = RegistryFabric(
                registry,
                load_or_create(section.identity_file),
                section.fabric,
                section.advertise,
                section.probe_period,
            )
            registry.nodes = fabric
            await fabric.start()
            server = RpcServer(metrics=service.metrics, max_concurrent=section.max_concurrent)
            relay = Relay(
                OUTBOX,
                pool,
                documents,
                COLLECTIONS,
                service.metrics,
                lambda reachable: server.set_serving(reachable, part="documents"),
            )
            stubs.add_RegistryServiceServicer_to_server(RegistryServicer(registry, fabric), server.grpc)
            address = server.listen(section.listen, tls=settings.tls)
            await server.start()
            async with asyncio.TaskGroup() as group:
                loops = [
                    group.create_task(registry.run()),
                    group.create_task(_announce(registry, bus)),
                    group.create_task(_die_with(fabric, service)),
                    group.create_task(relay.run(service.stopping)),
                ]
                group.create_task(every(_SAVE_PERIOD, registry.save, name="save", stopping=service.stopping))
                await server.set_serving(serving=True)
                service.ready({"grpc": address, "fabric": fabric.port()})
                await service.stopping.wait()
                await server.stop(min(1.0, section.drain))
                for loop in loops:
                    loop.cancel()
            await fabric.thread.stop()
            await _save_last(registry)
    except (BusError, ListenError) as error:
        raise FatalError(str(error)) from None


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("registry", lambda s: serve(s, settings), settings, section=settings.registry)


if __name__ == "__main__":
    main()
