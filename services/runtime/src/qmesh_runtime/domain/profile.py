"""Noise profile of a node, from the snapshot that a plan was made from."""

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
