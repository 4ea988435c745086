"""Sites and links that a plan may use, out of a registry snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.registry.v1 import registry_pb2 as registry

_DENSE_QUBITS = 22
"""Of a node that does not say how wide its components may be."""
_USABLE = frozenset({advert.AVAILABILITY_AVAILABLE, advert.AVAILABILITY_BUSY})


@dataclass(frozen=True, slots=True)
class Offer:
    """One service of one site."""

    fidelity: float
    qubit_min: int
    qubit_max: int
    gate_set: frozenset[str]
    duration_ns: int

    def takes(self, operands: int, gates: frozenset[str]) -> bool:
        """Whether a fragment of this width and these gates can run."""
        return self.qubit_min <= operands <= self.qubit_max and (not self.gate_set or gates <= self.gate_set)


@dataclass(frozen=True, slots=True)
class Site:
    """A node as the planner sees it.

    Attributes:
        offers: services that may be planned there.
        figures: advertised fidelities of all services of the node, also of those that may not be planned there.
    """

    number: int
    node_id: str
    name: str
    offers: dict[str, Offer]
    data_qubits: int
    state_bytes: int
    rtt_us: int
    failure_permille: int
    load_permille: int
    readout_fidelity: float
    stabilizer: bool
    dense_qubits: int
    t1_seconds: float
    t2_seconds: float
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Channel:
    """A link that can deliver pairs."""

    fidelity: float
    rate_hz: float
    rtt_us: int


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that placement may depend on.

    Attributes:
        sites: usable nodes, sorted by id; a site's number is its place here.
        channels: links by the numbers of both ends, lesser first.
        ruled_out: how many nodes are not among the sites, by reason.
        min_fidelity: least fidelity of a service that was taken in.
    """

    sites: tuple[Site, ...]
    channels: dict[tuple[int, int], Channel]
    ruled_out: dict[str, int] = field(default_factory=dict)
    min_fidelity: float = 0.0

    def channel(self, a: int, b: int) -> Channel | None:
        """The link between two sites."""
        return self.channels.get((a, b) if a < b else (b, a))

    def offering(self, service_type: str) -> list[Site]:
        """Sites that offer a service."""
        return [site for site in self.sites if service_type in site.offers]


def topology_of(
    nodes: Iterable[registry.Node],
    links: Iterable[registry.Link],
    *,
    excluded: frozenset[str],
    min_fidelity: float,
) -> Topology:
    """The usable part of a snapshot.

    Args:
        nodes: nodes of the snapshot.
        links: links of the snapshot.
        excluded: ids of nodes that must not be used.
        min_fidelity: least advertised fidelity of a service; 0 accepts all.
    """
    ruled_out: Counter[str] = Counter()
    sites: list[Site] = []
    for node in sorted(nodes, key=lambda n: n.node_id):
        if node.node_id in excluded:
            ruled_out["excluded"] += 1
        elif not node.state_transfer or "ensemble" not in node.executors:
            ruled_out["state_stays_on_node"] += 1
        else:
            sites.append(_site(len(sites), node, min_fidelity))
    number = {site.node_id: site.number for site in sites}
    channels = {}
    for link in links:
        if link.node_a in number and link.node_b in number and link.pair_rate_hz > 0:
            ends = sorted((number[link.node_a], number[link.node_b]))
            channels[ends[0], ends[1]] = Channel(link.pair_fidelity, link.pair_rate_hz, link.rtt_us)
    return Topology(tuple(sites), channels, dict(ruled_out), min_fidelity)


def _site(number: int, node: registry.Node, min_fidelity: float) -> Site:
    offers = {
        offer.service_type: Offer(
            offer.fidelity,
            offer.qubit_min,
            offer.qubit_max,
            frozenset(offer.gate_set),
            offer.duration_ns,
        )
        for offer in node.services
        if offer.availability in _USABLE and offer.fidelity >= min_fidelity
    }
    return Site(
        number,
        node.node_id,
        node.name,
        offers,
        node.capacity.data_qubits,
        node.capacity.state_bytes,
        node.rtt_us,
        node.failure_permille,
        node.load_permille,
        node.readout_fidelity or 1.0,
        "stabilizer" in node.executors,
        node.capacity.dense_qubits or _DENSE_QUBITS,
        node.memory.t1_seconds,
        node.memory.t2_seconds,
        {offer.service_type: offer.fidelity for offer in node.services},
    )
