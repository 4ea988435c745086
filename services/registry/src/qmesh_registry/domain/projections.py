"""Documents that the registry derives from what it knows: JSON of peers and of snapshots, as docs/formats/documents.md has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_registry.domain.peers import READY, PeerRecord

_MOST = 2**63 - 1  # stores have signed numbers; a peer may say anything of itself


def capability(record: PeerRecord) -> dict[str, Any]:
    """What a peer said of itself last, and its standing; services of a peer that is not admitted are hidden."""
    source = record.advertisement
    document: dict[str, Any] = {
        "peer_id": record.peer_id,
        "name": record.name,
        "owner": record.owner,
        "trust_tier": enroll.TrustTier.Name(record.tier).removeprefix("TRUST_TIER_").lower(),
        "enrollment_status": enroll.EnrollmentStatus.Name(record.status)
        .removeprefix("ENROLLMENT_STATUS_")
        .lower(),
        "rejoined": record.rejoined,
        "first_seen_at": _stamp(record.first_seen),
        "last_seen_at": _stamp(record.last_seen),
        "last_advertisement_at": _stamp(record.last_advert) if record.last_advert else None,
        "advertisement": None,
        "services": [],
        "links": [],
    }
    if source is None:
        return document
    document["advertisement"] = {
        "epoch": _whole(source.epoch),
        "counter": _whole(source.counter),
        "network_addresses": list(source.listen_addrs),
        "capacity": {
            "data_qubits": source.capacity.data_qubits,
            "link_qubits": source.capacity.link_qubits,
            "state_bytes": _whole(source.capacity.state_bytes),
            "concurrency": source.capacity.concurrency,
        },
        "load": {
            "active_executions": source.load.active_executions,
            "state_bytes_used": _whole(source.load.state_bytes_used),
            "busy": source.load.busy,
        },
        "memory": {"t1_seconds": source.memory.t1_seconds, "t2_seconds": source.memory.t2_seconds},
        "state_transfer": source.state_transfer,
        "executors": sorted(source.executors),
        "software": source.software,
        "readout_fidelity": source.readout_fidelity,
    }
    if record.status == READY:
        document["services"] = [_service(offer) for offer in source.services]
        document["links"] = [
            {
                "peer_id": link.peer_id,
                "rtt_seconds": link.rtt_seconds,
                "pair_fidelity": link.pair_fidelity,
                "pair_rate_hz": link.pair_rate_hz,
            }
            for link in source.links
        ]
    return document


def topology(snapshot: pb.Snapshot) -> dict[str, Any]:
    """A snapshot as planners saw it."""
    return {
        "snapshot_id": snapshot.snapshot_id,
        "version": _whole(snapshot.version),
        "made_at": _moment(snapshot.made_at),
        "nodes": [
            {
                "node_id": node.node_id,
                "name": node.name,
                "trust_tier": enroll.TrustTier.Name(node.tier).removeprefix("TRUST_TIER_").lower(),
                "epoch": _whole(node.epoch),
                "data_qubits": node.capacity.data_qubits,
                "load_permille": node.load_permille,
                "failure_permille": node.failure_permille,
                "services": [_service(offer) for offer in node.services],
            }
            for node in snapshot.nodes
        ],
        "links": [
            {
                "a": link.node_a,
                "b": link.node_b,
                "rtt_us": _whole(link.rtt_us),
                "pair_fidelity": link.pair_fidelity,
                "pair_rate_hz": link.pair_rate_hz,
            }
            for link in snapshot.links
        ],
    }


def _service(offer: advert.ServiceOffer) -> dict[str, Any]:
    return {
        "service_type": offer.service_type,
        "fidelity": offer.fidelity,
        "qubit_min": offer.qubit_min,
        "qubit_max": offer.qubit_max,
        "availability": advert.Availability.Name(offer.availability).removeprefix("AVAILABILITY_").lower()
        if offer.availability in advert.Availability.values()
        else "unspecified",
        "gate_set": list(offer.gate_set),
    }


def _whole(number: int) -> int:
    return min(number, _MOST)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: Timestamp) -> str:
    return _stamp(value.seconds + value.nanos / 1e9)
