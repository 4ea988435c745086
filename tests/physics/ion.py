"""Predictions for two ion modules: fidelity of a CZ between them and success of Grover's search, by component figures."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from qmesh.circuit.v1 import circuit_pb2
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_local.topology import Topology, load
from qmesh_model import wire
from qmesh_model.parser import parse
from qmesh_node.domain.block import Block
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.executor import Executor
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.randomness import Draws
from qmesh_planner.domain.plan import make_plan
from qmesh_runtime.domain.profile import memories_of, noise_profile
from qmesh_runtime.domain.requests import operations_of
from tests.mesh import EXAMPLES
from tests.physics.splits import WEIGHTS, Pass

TOPOLOGIES = EXAMPLES / "topologies"
HEAD = 'OPENQASM 3.0; include "stdgates.inc"; '
REMOTE = "qubit[2] circuit; cz circuit[0], circuit[1];"
"""A CZ that the mesh carries over its link."""
TELEPORTED = """qubit[2] circuit; qubit[2] network; bit[2] m;
bell_pair network[0], network[1]; h network[0]; cz circuit[0], network[0]; h network[0];
m[0] = measure network[0]; if (m[0]) { x network[1]; }
cz network[1], circuit[1]; h network[1];
m[1] = measure network[1]; if (m[1]) { z circuit[0]; }"""
"""A CZ that the program teleports over a pair of its own."""
_REFERENCES = (4, 5)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A probability with its standard error, and what it cost.

    Attributes:
        value: the probability, or an average gate fidelity.
        stderr: its standard error.
        pairs: pairs over the link.
        seconds: model time of the plan.
    """

    value: float
    stderr: float
    pairs: int
    seconds: float


def snapshot(name: str, *, local: float | None = None) -> registry.Snapshot:
    """A topology file as the registry tells it; `local` replaces the average fidelity of the two-qubit gates."""
    return _told(load(TOPOLOGIES / f"{name}.toml"), local)


def _told(topology: Topology, local: float | None) -> registry.Snapshot:
    found = registry.Snapshot(snapshot_id="s")
    for spec in topology.nodes:
        told = spec.description
        node = found.nodes.add(
            node_id=spec.name,
            state_transfer=True,
            executors=["ensemble", "stabilizer"],
            readout_fidelity=told["readout_fidelity"],
        )
        node.capacity.data_qubits, node.capacity.state_bytes = spec.data_qubits, told["state_bytes"]
        node.capacity.link_qubits = told["link_qubits"]
        node.memory.t1_seconds, node.memory.t2_seconds = told["t1_ns"] * 1e-9, told["t2_ns"] * 1e-9
        for offer in told["services"]:
            replaced = local is not None and offer["service_type"] in {"cnot", "cz"}
            node.services.add(**(offer | {"fidelity": local} if replaced else offer), availability=1)
    for link in topology.links:
        found.links.add(
            node_a=link.a, node_b=link.b, pair_fidelity=link.pair_fidelity, pair_rate_hz=link.pair_rate_hz
        )
    return found


def planned(text: str, topology: registry.Snapshot, shots: int) -> tuple[circuit_pb2.Circuit, planning.Plan]:
    """The plan of a program."""
    form = wire.to_proto(parse(text))
    request = planner.CompileRequest(circuit=form, topology=topology, shots=shots, noise=True)
    return form, make_plan(request, WEIGHTS)


def success(text: str, topology: registry.Snapshot, *, shots: int, seed: int, wanted: str) -> Prediction:
    """How often a program reads the wanted bits of its last register."""
    form, plan = planned(text, topology, shots)
    one = Pass(plan, form, topology, Draws(seed, 0, shots), stabilizer=False, noise=True)
    one.run(random.Random(seed))
    good = sum(count for bits, count in one.counts().items() if bits.split()[0] == wanted) / shots
    return Prediction(good, math.sqrt(good * (1 - good) / shots), len(plan.ebits), plan.makespan_ns * 1e-9)


def remote_cz(body: str, topology: registry.Snapshot, *, shots: int, seed: int) -> Prediction:
    """Average gate fidelity (4 F_pro + 1) / 5 of a CZ of wires 0 and 1, F_pro by halves of Bell pairs (Horodecki 1999)."""
    form, plan = planned(HEAD + body, topology, shots)
    nodes = {node.node_id: node for node in topology.nodes}
    profile = noise_profile(topology.nodes[0])
    assert all(noise_profile(node) == profile for node in topology.nodes)
    operations: list[gate.NodeOperation] = []
    headers: list[gate.FragmentHeader] = []
    for block in plan.blocks:
        more, own = operations_of(plan, block, form, memories_of(nodes))
        for operation in more:
            operation.fragment += len(headers)
        operations, headers = [*operations, *more], [*headers, *own]
    wires = {each for operation in operations for each in operation.wires}
    everything = gate.OutputComponent(component=0, position=1, wires=sorted({*wires, *_REFERENCES}))
    whole = Block(operations, headers, [everything], sorted(wires - {0, 1}), Draws(seed, 0, shots), profile)
    (made,) = Executor(whole, _pairs(shots), {}, {}, Memory(1 << 33).workspace()).run().components
    assert isinstance(made, Ensemble)
    overlaps = _overlaps(made)[made.row_of_shot]
    process, error = float(overlaps.mean()), float(overlaps.std(ddof=1) / math.sqrt(shots))
    return Prediction((4 * process + 1) / 5, 4 * error / 5, len(plan.ebits), plan.makespan_ns * 1e-9)


def _pairs(shots: int) -> list[Ensemble]:
    """Perfect Bell pairs of each circuit qubit with a reference."""
    bell = np.array([[1, 0, 0, 1]], dtype=np.complex128) / math.sqrt(2)
    rows = np.zeros(shots, dtype=np.uint32)
    return [Ensemble((c, r), bell.copy(), rows.copy()) for c, r in zip((0, 1), _REFERENCES, strict=True)]


def _overlaps(made: Ensemble) -> np.ndarray:
    """Squared overlap of each row with what CZ makes of the pairs, whatever the other wires hold."""
    n = len(made.wires)
    first = [0, 1, *_REFERENCES]
    order = [*first, *[w for w in made.wires if w not in first]]
    axes = [1 + n - 1 - made.wires.index(w) for w in order]
    tensor = made.states.reshape(-1, *(2,) * n).transpose([0, *axes]).reshape(made.rows, 16, -1)
    wanted = np.zeros((2, 2, 2, 2))
    for a in (0, 1):
        for b in (0, 1):
            wanted[a, b, a, b] = (-1) ** (a * b) / 2
    return np.asarray((np.abs(np.einsum("i,rij->rj", wanted.reshape(-1), tensor)) ** 2).sum(axis=1))
