"""Composition root of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from qmesh_gateway.adapters.auth import Authenticator
from qmesh_gateway.adapters.clients import Clients
from qmesh_gateway.adapters.live import SUBJECT, LiveEvents
from qmesh_gateway.app import build
from qmesh_gateway.settings import GatewaySection, Settings
from qmesh_gateway.state import GatewayState
from qmesh_kit.bus import BusError, connect_bus
from qmesh_kit.runner import FatalError, Service, run_service
from qmesh_kit.settings import load

_BACKLOG = 2048


def _listen(section: GatewaySection) -> socket.socket:
    """Binds here, so that a taken port is one clear sentence."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((section.host, section.port))
    except OSError as error:
        listener.close()
        raise FatalError(
            f"cannot listen on {section.host}:{section.port}: {error.strerror}; set QMESH_GATEWAY__PORT to another port"
        ) from None
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the service's runner has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield


async def serve(service: Service, settings: Settings) -> None:
    """Runs the service."""
    section = settings.gateway
    listener = _listen(section)
    clients = Clients(settings)
    live = LiveEvents(clients, section.stream_idle)
    key = section.api_key.get_secret_value() if section.api_key else None
    try:
        async with connect_bus(settings.nats, "gateway") as bus:
            await bus.subscribe(SUBJECT, live.deliver)
            state = GatewayState(section, clients, live, Authenticator(key, section.tenant), bus)
            config = uvicorn.Config(
                build(state),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=max(1, round(section.drain)),
            )
            server = _Server(config)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve([listener]))
                while not server.started:
                    await asyncio.sleep(0.01)
                service.ready({"http": f"http://{section.host}:{section.port}"})
                await service.stopping.wait()
                server.should_exit = True
    except BusError as error:
        raise FatalError(str(error)) from None
    finally:
        await clients.close()


def main() -> None:
    """Entry point."""
    settings = load(Settings)
    run_service("gateway", lambda s: serve(s, settings), settings, section=settings.gateway)


if __name__ == "__main__":
    main()
