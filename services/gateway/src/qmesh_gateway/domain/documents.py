"""Messages of the mesh as JSON documents of the HTTP surface."""

from __future__ import annotations

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.runtime.v1 import runtime_pb2 as runtime

Document = dict[str, object]

STRATEGIES = {
    "cost": planning.STRATEGY_COST,
    "ebit": planning.STRATEGY_EBIT,
    "centralized": planning.STRATEGY_CENTRALIZED,
}
PRECISIONS = {"double": state.PRECISION_DOUBLE, "single": state.PRECISION_SINGLE}
_STRATEGY_NAMES = {value: name for name, value in STRATEGIES.items()}
_PRECISION_NAMES = {value: name for name, value in PRECISIONS.items()}


def stamp(value: Timestamp) -> str | None:
    """ISO-8601 in UTC; None when unset."""
    if not value.seconds and not value.nanos:
        return None
    text: str = value.ToJsonString()
    return text


def status_of(value: int) -> str:
    """QUEUED, COMPILING, ..."""
    return events.JobStatus.Name(events.JobStatus.ValueType(value)).removeprefix("JOB_STATUS_")


def progress(value: events.Progress) -> Document:
    """Fragments done and to do."""
    return {
        "total_fragments": value.total,
        "completed_fragments": value.completed,
        "active_fragments": value.active,
        "ratio": value.completed / value.total if value.total else 0.0,
    }


def job(value: runtime.Job, *, result: bool = True) -> Document:
    """A job."""
    document: Document = {
        "job_id": value.job_id,
        "status": status_of(value.status),
        "plan_id": value.plan_ids[-1] if value.plan_ids else None,
        "plans": list(value.plan_ids),
        "error": (
            {"code": value.error.code, "message": value.error.message} if value.HasField("error") else None
        ),
        "progress": progress(value.progress) | {"latest_event_at": stamp(value.latest_event_at)},
        "circuit_preview": value.circuit_preview,
        "shots": value.shots,
        "seed": str(value.seed),
        "strategy": _STRATEGY_NAMES.get(value.strategy),
        "noise": value.noise,
        "precision": _PRECISION_NAMES.get(value.precision),
        "min_fidelity": value.min_fidelity,
        "timeout_s": value.timeout_seconds,
        "cancel_requested": value.cancel_requested,
        "metadata": orjson.loads(value.metadata_json) if value.metadata_json else {},
        "last_sequence": value.last_sequence,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }
    if result:
        document["result"] = orjson.Fragment(value.result_json) if value.result_json else None
    return document


def event(value: events.JobEvent) -> Document:
    """One entry of a job's history."""
    return {
        "sequence": value.sequence,
        "job_id": value.job_id,
        "type": events.JobEventType.Name(value.type).removeprefix("JOB_EVENT_TYPE_").lower(),
        "status": status_of(value.status),
        "fragment": value.fragment or None,
        "node": value.node_id or None,
        "error": {"code": value.error.code, "message": value.error.message} if value.error.code else None,
        "progress": progress(value.progress),
        "detail": orjson.loads(value.detail_json) if value.detail_json else None,
        "at": stamp(value.at),
    }


def _score(value: planning.Score) -> Document:
    return {
        "total": value.total,
        "latency": value.latency,
        "failure_risk": value.failure_risk,
        "entanglement": value.entanglement,
        "load": value.load,
    }


def ebits(value: planning.EbitSummary) -> Document:
    """Entanglement that a plan consumes."""
    return {
        "total": value.total,
        "e_inf": value.e_inf,
        "e_m": {str(item.link_qubits): item.ebits for item in value.e_m},
        "raw_pairs": value.raw_pairs,
        "per_link": [{"link": [link.node_a, link.node_b], "ebits": link.ebits} for link in value.per_link],
    }


def plan(value: planning.Plan) -> Document:
    """A plan with its explained candidates."""
    return {
        "plan_id": value.plan_id,
        "parent_plan_id": value.parent_plan_id or None,
        "generation": value.generation,
        "strategy": _STRATEGY_NAMES.get(value.strategy),
        "precision": _PRECISION_NAMES.get(value.configuration.precision),
        "snapshot_id": value.snapshot_id,
        "circuit_digest": value.circuit_digest.hex(),
        "score": _score(value.score),
        "fragments": [_fragment(f) for f in value.fragments],
        "assignments": [_assignment(value, block) for block in value.blocks],
        "blocks": [_block(block) for block in value.blocks],
        "stages": [list(stage.blocks) for stage in value.stages],
        "chains": [
            {"component": c.component, "wires": list(c.wires), "blocks": list(c.blocks), "final": c.final}
            for c in value.chains
        ],
        "homes": [
            {"wire": h.wire, "node_id": h.node_id, "from_operation": h.from_operation} for h in value.homes
        ],
        "state_moves": [
            {
                "component": m.component,
                "position": m.position,
                "from": m.from_node,
                "to": m.to_node,
                "bytes": m.bytes,
                "block": m.block,
            }
            for m in value.state_moves
        ],
        "ebits": ebits(value.ebit_summary),
        "pairs": [
            {
                "pair": e.pair,
                "wire": e.wire,
                "link": [e.node_a, e.node_b],
                "kind": e.kind,
                "operation": e.operation,
                "packet": list(e.packet),
                "fidelity": e.fidelity,
                "raw_pairs": e.raw_pairs,
            }
            for e in value.ebits
        ],
        "demands": [
            {
                "node_id": d.node_id,
                "data_qubits": d.data_qubits,
                "state_bytes": d.state_bytes,
                "executions": d.executions,
                "service_types": list(d.service_types),
            }
            for d in value.demands
        ],
        "slices": value.slices,
        "makespan_ns": value.makespan_ns,
        "predicted_fidelity": value.predicted_fidelity,
        "planner_version": value.planner_version,
        "warnings": list(value.warnings),
    }


def _fragment(value: planning.Fragment) -> Document:
    return {
        "fragment_id": value.fragment_id,
        "service_type": value.service_type,
        "qubits": list(value.qubits),
        "wires": list(value.wires),
        "operation_ids": list(value.operations),
        "dependencies": list(value.dependencies),
        "block": value.block,
        "start_ns": value.start_ns,
        "gate_ns": value.gate_ns,
        "link_wait_ns": value.link_wait_ns,
        "idle_ns": value.idle_ns,
        "predicted_fidelity": value.predicted_fidelity,
    }


def _block(value: planning.Block) -> Document:
    return {
        "block_id": value.block_id,
        "stage": value.stage,
        "fragments": list(value.fragments),
        "dependencies": list(value.dependencies),
        "node_id": value.candidates[0].node_id if value.candidates else None,
        "fallbacks": [c.node_id for c in value.candidates[1:]],
        "readout": value.readout,
        "executor": _lower(state.ExecutorKind.Name(value.executor), "EXECUTOR_KIND_"),
        "state_bytes": value.state_bytes,
    }


def _assignment(whole: planning.Plan, block: planning.Block) -> Document:
    return {
        "block_id": block.block_id,
        "fragment_ids": [whole.fragments[n].fragment_id for n in block.fragments],
        "candidates": [
            {
                "node_id": c.node_id,
                "rank": c.rank,
                "score": _score(c.score),
                "explanation": list(c.explanation),
            }
            for c in block.candidates
        ],
        "excluded": {e.reason: e.count for e in block.exclusions},
    }


def _lower(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def availability(value: int) -> str:
    """available, busy, draining."""
    return _lower(advert.Availability.Name(advert.Availability.ValueType(value)), "AVAILABILITY_")


def tier(value: int) -> str:
    """platform_managed, ..."""
    return _lower(enroll.TrustTier.Name(enroll.TrustTier.ValueType(value)), "TRUST_TIER_")


def service(node: registry.Node, offer: advert.ServiceOffer, updated_at: str | None) -> Document:
    """One service of one node."""
    return {
        "node_id": node.node_id,
        "node_name": node.name,
        "listen_addrs": list(node.addresses),
        "service_type": offer.service_type,
        "fidelity": offer.fidelity,
        "qubit_min": offer.qubit_min,
        "qubit_max": offer.qubit_max,
        "availability": availability(offer.availability),
        "gate_set": list(offer.gate_set),
        "updated_at": updated_at,
    }


def peer(value: registry.Peer) -> Document:
    """A peer as operators see it."""
    return {
        "peer_id": value.peer_id,
        "name": value.name,
        "trust_tier": tier(value.tier),
        "enrollment_status": _lower(enroll.EnrollmentStatus.Name(value.enrollment), "ENROLLMENT_STATUS_"),
        "health_status": _lower(registry.HealthStatus.Name(value.health), "HEALTH_STATUS_"),
        "network_addresses": list(value.addresses),
        "supported_protocols": list(value.protocols),
        "services": [
            {
                "service_type": offer.service_type,
                "fidelity": offer.fidelity,
                "qubit_min": offer.qubit_min,
                "qubit_max": offer.qubit_max,
                "availability": availability(offer.availability),
            }
            for offer in value.services
        ],
        "capacity": {
            "data_qubits": value.capacity.data_qubits,
            "link_qubits": value.capacity.link_qubits,
            "state_bytes": value.capacity.state_bytes,
        },
        "active_executions": value.load.active_executions,
        "epoch": value.epoch,
        "first_seen_at": stamp(value.first_seen_at),
        "last_seen_at": stamp(value.last_seen_at),
        "last_advertisement_at": stamp(value.last_advertisement_at),
        "is_stale": value.stale,
        "rejoined": value.rejoined,
    }


def link(value: registry.Link) -> Document:
    """A measured link."""
    return {
        "a": value.node_a,
        "b": value.node_b,
        "rtt_ms": value.rtt_us / 1000 if value.rtt_us else None,
        "pair_fidelity": value.pair_fidelity,
        "pair_rate_hz": value.pair_rate_hz,
        "measured_at": stamp(value.measured_at),
    }
