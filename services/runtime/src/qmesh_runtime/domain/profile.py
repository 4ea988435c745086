"""Calibrations of nodes, from the snapshot that a plan was made from."""

from collections.abc import Mapping

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.registry.v1 import registry_pb2 as registry


def noise_profile(node: registry.Node) -> gate.NoiseProfile:
    """Rates as the node advertises them."""
    return gate.NoiseProfile(
        service_fidelity={offer.service_type: offer.fidelity for offer in node.services},
        readout_error=max(0.0, 1.0 - node.readout_fidelity),
        t1_seconds=node.memory.t1_seconds,
        t2_seconds=node.memory.t2_seconds,
    )


def memories_of(nodes: Mapping[str, registry.Node]) -> dict[str, advert.Memory]:
    """Decay times of the memories, by node."""
    return {node_id: node.memory for node_id, node in nodes.items()}
