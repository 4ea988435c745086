"""What routes share: clients, live events, authentication, settings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection, Request

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh_gateway.adapters.auth import Authenticator
from qmesh_gateway.adapters.clients import Clients
from qmesh_gateway.adapters.live import LiveEvents
from qmesh_gateway.settings import GatewaySection
from qmesh_kit.bus import Bus


@dataclass(slots=True)
class GatewayState:
    """Made once by the composition root."""

    settings: GatewaySection
    clients: Clients
    live: LiveEvents
    authenticator: Authenticator
    bus: Bus
    started: float = field(default_factory=time.monotonic)


def state_of(connection: HTTPConnection) -> GatewayState:
    """The state of the application that a connection belongs to."""
    state: GatewayState = connection.app.state.gateway
    return state


async def caller_of(request: Request) -> caller.Caller:
    """The authenticated caller (a dependency of every route that needs one; one that is no coroutine costs a thread)."""
    return state_of(request).authenticator.caller(request)
