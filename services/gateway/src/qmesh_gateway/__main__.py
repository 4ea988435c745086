"""Composition root of the gateway."""

from __future__ import annotations

import asyncio

from qmesh_gateway.adapters.auth import Authenticator
from qmesh_gateway.adapters.clients import Clients
from qmesh_gateway.adapters.http import HttpServer, listen
from qmesh_gateway.adapters.live import SUBJECT, LiveEvents
from qmesh_gateway.app import build
from qmesh_gateway.settings import Settings
from qmesh_gateway.state import GatewayState
from qmesh_kit.bus import BusError, connect_bus
from qmesh_kit.runner import FatalError, Service, run_service
from qmesh_kit.settings import ConfigError, load, refuse


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.gateway
    listener = listen(section.host, section.port)
    clients = Clients(settings)
    live = LiveEvents(clients, section.stream_idle)
    key = section.api_key.get_secret_value() if section.api_key else None
    try:
        async with connect_bus(settings.nats, "gateway") as bus:
            await bus.subscribe(SUBJECT, live.deliver)
            bus.when_back(live.catch_up)
            state = GatewayState(section, clients, live, Authenticator(key, section.tenant), bus)
            server = HttpServer(build(state), section.drain)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve([listener]))
                await server.listening.wait()
                service.ready({"http": f"http://{section.host}:{section.port}"})
                await service.stopping.wait()
                live.close()
                server.should_exit = True
    except BusError as error:
        raise FatalError(str(error)) from None
    finally:
        await clients.close()


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    problem = settings.exposure()
    if problem is not None:
        refuse(ConfigError([problem]))
    run_service("gateway", lambda s: serve(s, settings), settings, section=settings.gateway)


if __name__ == "__main__":
    main()
