"""Composition root of the reservation service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from qmesh.reservation.v1 import reservation_pb2_grpc as stubs
from qmesh_kit.rpc import RpcServer
from qmesh_kit.runner import FatalError, Service, run_service
from qmesh_kit.settings import load
from qmesh_kit.sql import migrate, open_pool
from qmesh_kit.tasks import every
from qmesh_reservation.adapters.grpc_server import ReservationServicer
from qmesh_reservation.adapters.postgres import PostgresReservations
from qmesh_reservation.application import ReservationService
from qmesh_reservation.domain.tokens import TokenSigner
from qmesh_reservation.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.reservation
    try:
        signer = TokenSigner(section.signing_key.get_secret_value())
    except ValueError as error:
        raise FatalError(f"QMESH_RESERVATION__SIGNING_KEY: {error}") from None
    if settings.postgres.migrate_on_start:
        await migrate(settings.postgres, "reservation", MIGRATIONS)
    async with open_pool(settings.postgres, "reservation") as pool:
        reservations = ReservationService(PostgresReservations(pool), signer, section.longest_ttl)
        server = RpcServer(metrics=service.metrics, max_concurrent=section.max_concurrent)
        stubs.add_ReservationServiceServicer_to_server(ReservationServicer(reservations), server.grpc)
        address = server.listen(section.listen, tls=settings.tls)
        await server.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(
                every(section.sweep, reservations.sweep, name="expiry", stopping=service.stopping)
            )
            await server.set_serving(serving=True)
            service.ready({"grpc": address})
            await service.stopping.wait()
            await server.stop(section.drain)


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("reservation", lambda s: serve(s, settings), settings, section=settings.reservation)


if __name__ == "__main__":
    main()
