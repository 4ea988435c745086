"""Peers that the registry knows, and the snapshot that planners get."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_model.gates import SERVICE_TYPES
from qmesh_registry.domain.observed import Observed

_LOAD_STEP = 100
READY = enroll.ENROLLMENT_STATUS_READY
PENDING = enroll.ENROLLMENT_STATUS_PENDING_APPROVAL
SHUT_OUT = frozenset({enroll.ENROLLMENT_STATUS_REJECTED, enroll.ENROLLMENT_STATUS_QUARANTINED})
MISSED = 3  # periods after which a peer is stale
HELLO_PERIOD = 5.0  # a peer that waits for approval asks again so often, in seconds


@dataclass(slots=True)
class PeerRecord:
    """One peer: its enrollment, its newest advertisement, and whether it is there."""

    peer_id: str
    status: enroll.EnrollmentStatus.ValueType = enroll.ENROLLMENT_STATUS_PENDING_APPROVAL
    tier: enroll.TrustTier.ValueType = enroll.TRUST_TIER_PUBLIC_UNTRUSTED
    name: str = ""
    owner: str = ""
    tenant_id: str = ""
    advertisement: advert.Advertisement | None = None
    first_seen: float = 0.0
    last_seen: float = 0.0
    last_advert: float = 0.0
    connected: bool = False
    rejoined: bool = False
    observed: Observed = field(default_factory=Observed)

    def health(self, now: float, stale_after: float) -> pb.HealthStatus.ValueType:
        """How the peer does; a lost control stream counts at once, late adverts after three periods.

        A peer that is not admitted has no control stream: it is there while it asks to be admitted, or advertises.
        """
        if self.status != READY:
            late = now - self.last_seen > MISSED * HELLO_PERIOD
            return pb.HEALTH_STATUS_STALE if late else pb.HEALTH_STATUS_HEALTHY
        if not self.connected:
            return pb.HEALTH_STATUS_UNREACHABLE
        if now - self.last_advert > stale_after:
            return pb.HEALTH_STATUS_STALE
        if self.advertisement is not None and any(
            offer.availability == advert.AVAILABILITY_DRAINING for offer in self.advertisement.services
        ):
            return pb.HEALTH_STATUS_DRAINING
        return pb.HEALTH_STATUS_HEALTHY


def quantised_rtt(seconds: float) -> int:
    """Microseconds, rounded to a power of two, so that jitter makes no new snapshot."""
    us = int(seconds * 1e6)
    if us <= 0:
        return 0
    return 1 << max(8, us.bit_length())


def node_of(record: PeerRecord) -> pb.Node:
    """A peer as planners see it."""
    source = record.advertisement
    assert source is not None  # noqa: S101 - only peers with an advertisement are planned
    return pb.Node(
        node_id=record.peer_id,
        name=source.name,
        tier=record.tier,
        epoch=source.epoch,
        addresses=source.listen_addrs,
        services=sorted(source.services, key=lambda offer: offer.service_type),
        capacity=source.capacity,
        memory=source.memory,
        state_transfer=source.state_transfer,
        executors=sorted(source.executors),
        load_permille=round(source.load.busy * 1000 / _LOAD_STEP) * _LOAD_STEP,
        failure_permille=record.observed.failure_permille,
        observed=record.observed.services(),
        readout_fidelity=source.readout_fidelity,
    )


def links_of(records: Mapping[str, PeerRecord]) -> list[pb.Link]:
    """Links between peers that are both known, merged from both ends: mean fidelity and rate, mean round trip."""
    found: dict[tuple[str, str], list[advert.LinkMeasurement]] = {}
    for record in records.values():
        if record.advertisement is None:
            continue
        for link in record.advertisement.links:
            if link.peer_id in records:
                ends = (min(record.peer_id, link.peer_id), max(record.peer_id, link.peer_id))
                found.setdefault(ends, []).append(link)
    result = []
    for (a, b), ends_seen in sorted(found.items()):
        measured = [link for link in ends_seen if link.rtt_seconds > 0]
        count = len(ends_seen)
        merged = pb.Link(
            node_a=a,
            node_b=b,
            rtt_us=quantised_rtt(sum(m.rtt_seconds for m in measured) / len(measured)) if measured else 0,
            pair_fidelity=round(sum(m.pair_fidelity for m in ends_seen) / count, 6),
            pair_rate_hz=round(sum(m.pair_rate_hz for m in ends_seen) / count, 6),
        )
        newest = max((m.measured_at for m in measured), default=0.0)
        if newest:
            merged.measured_at.FromNanoseconds(int(newest * 1e9))
        result.append(merged)
    return result


def snapshot_of(records: Mapping[str, PeerRecord], now: float, stale_after: float) -> pb.Snapshot:
    """Everything that a plan may depend on; its id is the SHA-256 of its nodes and links, without times and counters."""
    live = {
        peer_id: record
        for peer_id, record in records.items()
        if record.status == READY
        and record.advertisement is not None
        and record.health(now, stale_after) == pb.HEALTH_STATUS_HEALTHY
    }
    nodes = [node_of(live[peer_id]) for peer_id in sorted(live)]
    links = links_of(live)
    for link in links:
        link.ClearField("measured_at")
    content = pb.Snapshot(nodes=nodes, links=links).SerializeToString(deterministic=True)
    made = pb.Snapshot(snapshot_id=hashlib.sha256(content).hexdigest(), nodes=nodes, links=links)
    made.made_at.FromNanoseconds(int(now * 1e9))
    return made


def objection_to(message: advert.Advertisement) -> str | None:
    """What the registry has against an advertisement beside its ranges: services that no circuit can ask for."""
    known = all(offer.service_type in SERVICE_TYPES for offer in message.services)
    return None if known else "unknown service"


def peer_message(record: PeerRecord, now: float, stale_after: float) -> pb.Peer:
    """A peer as operators see it; services of a peer that is not enrolled are hidden."""
    health = record.health(now, stale_after)
    message = pb.Peer(
        peer_id=record.peer_id,
        name=record.name,
        tier=record.tier,
        enrollment=record.status,
        health=health,
        stale=health in {pb.HEALTH_STATUS_STALE, pb.HEALTH_STATUS_UNREACHABLE},
        rejoined=record.rejoined,
        owner=record.owner,
        tenant_id=record.tenant_id,
    )
    source = record.advertisement
    if source is not None:
        message.addresses.extend(source.listen_addrs)
        message.epoch = source.epoch
        message.capacity.CopyFrom(source.capacity)
        message.load.CopyFrom(source.load)
        if record.status == READY:
            message.services.extend(source.services)
    for name, value in (
        ("first_seen_at", record.first_seen),
        ("last_seen_at", record.last_seen),
        ("last_advertisement_at", record.last_advert),
    ):
        if value:
            getattr(message, name).FromNanoseconds(int(value * 1e9))
    return message
