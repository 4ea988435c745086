"""GET /health, /ready and the index."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qmesh_gateway import __version__
from qmesh_gateway.answers import JsonResponse
from qmesh_gateway.state import state_of
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcChannel

router = APIRouter(tags=["system"])

_REQUIRED = frozenset({"runtime", "planner", "registry", "reservation"})


@router.get("/health", operation_id="getHealth")
async def health(request: Request) -> JsonResponse:
    """This process only; asks no dependency."""
    state = state_of(request)
    return JsonResponse(
        {
            "status": "ok",
            "service": "gateway",
            "environment": state.settings.environment,
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - state.started, 3),
        }
    )


async def _probe(name: str, channel: RpcChannel, part: str = "") -> dict[str, Any]:
    request = health_pb2.HealthCheckRequest(service=part)
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=1.0)
    except ServiceError as error:
        return {"name": name, "mode": "grpc", "reachable": False, "message": error.message}
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    message = "not serving" if not part else "the store does not take them; they wait and will be delivered"
    return {"name": name, "mode": "grpc", "reachable": serving, "message": "" if serving else message}


@router.get("/ready", operation_id="getReady")
async def ready(request: Request) -> JsonResponse:
    """Probes every dependency; 503 names what is missing."""
    state = state_of(request)
    channels = state.clients.channels
    probes = list(
        await asyncio.gather(
            *(_probe(name, channel) for name, channel in channels.items()),
            _probe("documents", channels["registry"], "documents"),
        )
    )
    connected = state.bus.connected
    probes.append(
        {
            "name": "nats",
            "mode": "nats",
            "reachable": connected,
            "message": "" if connected else "not connected",
        }
    )
    missing = [p["name"] for p in probes if not p["reachable"]]
    blocking = [name for name in missing if name in _REQUIRED or name == "nats"]
    return JsonResponse(
        {"status": "degraded" if missing else "ready", "missing": missing, "dependencies": probes},
        status_code=503 if blocking else 200,
        headers={"retry-after": "1"} if blocking else {},
    )
