"""Composition root of the runtime."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import structlog
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

from qmesh.events.v1 import events_pb2 as events
from qmesh.runtime.v1 import runtime_pb2_grpc as stubs
from qmesh_fabric.identity import load_or_create
from qmesh_kit.bus import Bus, BusError, connect_bus
from qmesh_kit.ledger import Ledger
from qmesh_kit.rpc import RpcChannel, RpcServer
from qmesh_kit.runner import FatalError, Service, run_service
from qmesh_kit.settings import load
from qmesh_kit.sql import migrate, open_pool
from qmesh_kit.tasks import every
from qmesh_runtime.adapters.clients import AnalyzerClient, PlannerClient, ReservationClient
from qmesh_runtime.adapters.directory import RegistryDirectory
from qmesh_runtime.adapters.emitter import EventEmitter
from qmesh_runtime.adapters.grpc_server import JobServicer
from qmesh_runtime.adapters.nodes import LibP2PNodes
from qmesh_runtime.adapters.postgres import Item, PostgresJobStore
from qmesh_runtime.adapters.statements import WAKE_SUBJECT
from qmesh_runtime.application.insight import Insight
from qmesh_runtime.application.jobs import Jobs
from qmesh_runtime.application.outbox import OutboxRelay
from qmesh_runtime.application.processor import Services
from qmesh_runtime.application.worker import Worker
from qmesh_runtime.ports import NewJob
from qmesh_runtime.settings import Settings

log = structlog.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"
_STREAM = StreamConfig(
    name="JOBS",
    subjects=[WAKE_SUBJECT],
    retention=RetentionPolicy.WORK_QUEUE,
    storage=StorageType.FILE,
    max_bytes=64 << 20,
    duplicate_window=120,
)
_CONTROL = "qmesh.jobs.control"
_REPORT_SECONDS = 0.5


async def _die_with(nodes: LibP2PNodes, service: Service) -> None:
    """Ends the process when libp2p dies."""
    assert nodes.thread.done is not None  # noqa: S101 - set by start
    error = await asyncio.shield(nodes.thread.done)
    if not service.stopping.is_set():
        raise FatalError(f"libp2p ended: {error!r}")


async def _listen(bus: Bus, worker: Worker) -> None:
    """Cancels that any replica rang for."""

    async def control(message: Msg) -> None:
        order = events.JobControl.FromString(message.data)
        if order.cancel:
            await worker.cancel(order.job_id)

    await bus.subscribe(f"{_CONTROL}.>", control)


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.runtime
    if settings.postgres.migrate_on_start:
        await migrate(settings.postgres, "runtime", MIGRATIONS)
    ledger = Ledger(section.ledger_file)
    try:
        async with (
            open_pool(settings.postgres, "runtime") as pool,
            connect_bus(settings.nats, "runtime") as bus,
        ):
            await bus.ensure_stream(_STREAM)
            emitter = EventEmitter(bus, ledger)
            relays: list[OutboxRelay] = []

            def committed(items: Sequence[Item]) -> None:
                emitter.committed(items)
                if any(isinstance(item, NewJob) for item in items):
                    relays[0].ring()

            owner = f"{socket.gethostname()}/{os.getpid()}"
            store = PostgresJobStore(pool, owner, section.lease, committed)
            relays.append(OutboxRelay(store, bus))
            await _run(service, settings, store, bus, emitter, relays[0])
    except BusError as error:
        raise FatalError(str(error)) from None
    finally:
        await ledger.flush()
        ledger.close()


async def _run(
    service: Service,
    settings: Settings,
    store: PostgresJobStore,
    bus: Bus,
    emitter: EventEmitter,
    relay: OutboxRelay,
) -> None:
    section = settings.runtime
    channels = {
        name: RpcChannel(target, default_timeout=section.call_timeout, tls=settings.tls)
        for name, target in (
            ("planner", section.planner),
            ("registry", section.registry),
            ("reservation", section.reservation),
            ("analyzer", section.analyzer),
        )
    }
    directory = RegistryDirectory(channels["registry"])
    nodes = LibP2PNodes(load_or_create(section.identity_file), directory.admits)
    await nodes.start()
    services = Services(
        store=store,
        planner=PlannerClient(channels["planner"], channels["registry"]),
        reservations=ReservationClient(channels["reservation"]),
        nodes=nodes,
        directory=directory,
        insight=Insight(AnalyzerClient(channels["analyzer"]), nodes, rows_limit=section.rows_limit),
        observations=directory,
    )
    worker = Worker(services, store, section.lease, section.max_jobs)

    async def ring(order: events.JobControl) -> None:
        await bus.emit(f"{_CONTROL}.{order.job_id}", order.SerializeToString())

    async def doorbell(messages: Sequence[Msg]) -> None:
        for message in messages:
            worker.wake(events.JobWake.FromString(message.data).job_id)

    server = RpcServer(metrics=service.metrics, max_concurrent=section.max_concurrent)
    stubs.add_JobServiceServicer_to_server(JobServicer(Jobs(store, worker.wake, ring)), server.grpc)
    address = server.listen(section.listen, tls=settings.tls)
    await server.start()
    await _listen(bus, worker)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(store.run())
        loops = [
            group.create_task(directory.watch(service.stopping)),
            group.create_task(emitter.run()),
            group.create_task(relay.run()),
            group.create_task(worker.run(service.stopping)),
            group.create_task(bus.consume("JOBS", "runtime", doorbell, stopping=service.stopping)),
            group.create_task(_die_with(nodes, service)),
        ]
        group.create_task(every(_REPORT_SECONDS, directory.report, name="report", stopping=service.stopping))
        await server.set_serving(serving=True)
        service.ready({"grpc": address})
        await service.stopping.wait()
        await worker.drain(section.drain)
        await server.stop(min(1.0, section.drain))
        await store.flush()
        for loop in (*loops, writing):
            loop.cancel()
    await nodes.thread.stop()
    for channel in channels.values():
        await channel.close()


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("runtime", lambda s: serve(s, settings), settings, section=settings.runtime)


if __name__ == "__main__":
    main()
