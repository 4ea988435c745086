"""GET /services, /discovery/*, /bootstrap/*, /reservations/{id}."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh_gateway.answers import JsonResponse
from qmesh_gateway.domain import documents
from qmesh_gateway.routes.jobs import known_id
from qmesh_gateway.state import caller_of, state_of

router = APIRouter(tags=["discovery"])
Caller = Annotated[caller.Caller, Depends(caller_of)]
Availability = Literal["available", "busy", "draining"]
ServiceType = Literal[
    "bell_pair",
    "cnot",
    "cz",
    "teleportation",
    "syndrome_extraction",
    "distillation",
    "measurement_feedforward",
    "hadamard",
    "qft",
    "controlled_unitary",
    "programmable_gate",
]


@router.get("/services", operation_id="listServices")
async def list_services(
    request: Request,
    who: Caller,
    service_type: Annotated[ServiceType | None, Query()] = None,
    availability: Annotated[Availability | None, Query()] = None,
    min_fidelity: Annotated[float, Query(ge=0, le=1)] = 0.0,
    qubits: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> JsonResponse:
    """Services of the nodes that live, as planners see them."""
    clients = state_of(request).clients
    answer = await clients.registry.GetSnapshot(
        registry.GetSnapshotRequest(caller=who), timeout=clients.timeout
    )
    made = documents.stamp(answer.snapshot.made_at)
    rows = [
        documents.service(node, offer, made)
        for node in answer.snapshot.nodes
        for offer in node.services
        if (not service_type or offer.service_type == service_type)
        and (not availability or documents.availability(offer.availability) == availability)
        and offer.fidelity >= min_fidelity
        and offer.qubit_max >= qubits
    ]
    return JsonResponse({"snapshot_id": answer.snapshot.snapshot_id, "services": rows})


async def _peers(request: Request, who: caller.Caller, *, include_stale: bool) -> registry.ListPeersResponse:
    clients = state_of(request).clients
    message = registry.ListPeersRequest(caller=who, include_stale=include_stale)
    answer: registry.ListPeersResponse = await clients.registry.ListPeers(message, timeout=clients.timeout)
    return answer


@router.get("/discovery/peers", operation_id="listPeers")
async def list_peers(request: Request, who: Caller, *, include_stale: bool = False) -> JsonResponse:
    """Peers that the registry knows."""
    answer = await _peers(request, who, include_stale=include_stale)
    return JsonResponse({"peers": [documents.peer(p) for p in answer.peers]})


@router.get("/discovery/peers/{peer_id}", operation_id="getPeer")
async def get_peer(request: Request, peer_id: str, who: Caller) -> JsonResponse:
    """One peer."""
    clients = state_of(request).clients
    message = registry.GetPeerRequest(caller=who, peer_id=peer_id[:128])
    answer: registry.GetPeerResponse = await clients.registry.GetPeer(message, timeout=clients.timeout)
    return JsonResponse(documents.peer(answer.peer))


@router.get("/discovery/topology", operation_id="getTopology")
async def topology(request: Request, who: Caller, *, include_stale: bool = True) -> JsonResponse:
    """Peers and measured links."""
    answer = await _peers(request, who, include_stale=include_stale)
    peers = [documents.peer(p) for p in answer.peers]
    return JsonResponse(
        {
            "peers": peers,
            "links": [documents.link(x) for x in answer.links],
            "totals": {
                "peers": len(peers),
                "healthy": sum(1 for p in peers if p["health_status"] == "healthy"),
                "links": len(answer.links),
                "data_qubits": sum(p.capacity.data_qubits for p in answer.peers),
            },
        }
    )


@router.get("/discovery/network/topology", operation_id="getNetworkTopology")
async def network_topology(request: Request, who: Caller) -> JsonResponse:
    """State of the fabric and the snapshot that planners use."""
    clients = state_of(request).clients
    fabric = await clients.registry.GetFabric(registry.GetFabricRequest(caller=who), timeout=clients.timeout)
    answer = await clients.registry.GetSnapshot(
        registry.GetSnapshotRequest(caller=who), timeout=clients.timeout
    )
    made = documents.stamp(answer.snapshot.made_at)
    services = [documents.service(n, o, made) for n in answer.snapshot.nodes for o in n.services]
    return JsonResponse(
        {
            "fabric_running": fabric.running,
            "generated_at": made,
            "snapshot_id": answer.snapshot.snapshot_id,
            "services": sorted({str(s["service_type"]) for s in services}),
            "registry_snapshot": services,
        }
    )


@router.get("/bootstrap/libp2p", operation_id="getBootstrap")
async def bootstrap(request: Request, who: Caller) -> JsonResponse:
    """What a new node needs to join."""
    clients = state_of(request).clients
    fabric = await clients.registry.GetFabric(registry.GetFabricRequest(caller=who), timeout=clients.timeout)
    return JsonResponse(
        {
            "enabled": fabric.running,
            "topics": list(fabric.topics),
            "protocols": [
                {"name": p.name, "version": p.version, "stream_id": p.id, "description": p.description}
                for p in fabric.protocols
            ],
            "listen_multiaddrs": list(fabric.listen_addrs),
            "bootstrap_multiaddrs": list(fabric.advertised_addrs),
        }
    )


@router.get("/bootstrap/libp2p/runtime", operation_id="getFabricRuntime")
async def fabric_runtime(request: Request, who: Caller) -> JsonResponse:
    """The registry's live libp2p host."""
    clients = state_of(request).clients
    fabric = await clients.registry.GetFabric(registry.GetFabricRequest(caller=who), timeout=clients.timeout)
    return JsonResponse(
        {
            "driver": fabric.driver,
            "driver_version": fabric.driver_version,
            "host_peer_id": fabric.peer_id,
            "listeners": list(fabric.listen_addrs),
            "advertised_multiaddrs": list(fabric.advertised_addrs),
            "connected_peers": list(fabric.connected_peers),
        }
    )


@router.get("/reservations/{reservation_id}", operation_id="getReservation")
async def get_reservation(request: Request, reservation_id: str, who: Caller) -> JsonResponse:
    """One reservation with its history."""
    clients = state_of(request).clients
    message = reservation.GetReservationRequest(
        caller=who, reservation_id=known_id(reservation_id, "reservation")
    )
    answer = await clients.reservation.GetReservation(message, timeout=clients.timeout)
    item = answer.reservation
    return JsonResponse(
        {
            "reservation_id": item.reservation_id,
            "job_id": item.job_id,
            "state": _state(item.state),
            "node_id": item.line.node_id,
            "service_types": list(item.line.service_types),
            "data_qubits": item.line.data_qubits,
            "expires_at": documents.stamp(item.expires_at),
            "token_fingerprint": item.token_fingerprint or None,
            "history": [
                {"state": _state(e.state), "at": documents.stamp(e.at), "reason": e.reason or None}
                for e in item.history
            ],
        }
    )


def _state(value: reservation.ReservationState.ValueType) -> str:
    return reservation.ReservationState.Name(value).removeprefix("RESERVATION_STATE_")
