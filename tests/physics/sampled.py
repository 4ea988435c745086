"""One noisy circuit through planner, request builder and node executor, in this process: sampled fidelity beside the exact one."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_analyzer.domain.executed import mean_of
from qmesh_model import wire
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.parser import parse
from qmesh_node.domain.randomness import Draws
from qmesh_planner.domain.plan import make_plan
from qmesh_runtime.domain.profile import memories_of
from qmesh_runtime.domain.requests import operations_of
from tests.physics.density import Density, Noise, ideal
from tests.physics.splits import WEIGHTS, Pass

_ONE = ("h", "x", "s", "t", "sx", "ry(0.7)", "rz(0.4)", "rx(1.1)")
_TWO = (
    "cx", "cz", "cy", "swap", "cp(0.9)", "crx(0.6)", "cry(0.3)", "bell_pair", "teleport", "rzz(0.5)", "rxx(0.8)", "iswap", "ch",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sampled:
    """Fidelity of the executed state to the ideal one as the product reports it.

    Attributes:
        value: mean over shots.
        stderr: its standard error.
    """

    value: float
    stderr: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Fidelity of the executed state to the ideal one.

    Attributes:
        qubits: width.
        pairs: pairs that the plan uses.
        samples: by the analyzer from the executed rows, once for each seed.
        exact: by the density matrix.
        predicted: what the plan says.
    """

    qubits: int
    pairs: int
    samples: tuple[Sampled, ...]
    exact: float
    predicted: float

    @property
    def scores(self) -> list[float]:
        """Standard errors between sampled and exact; beyond a rounding error of 1e-9."""
        return [self._score(sample) for sample in self.samples]

    def _score(self, sample: Sampled) -> float:
        off = sample.value - self.exact
        return 0.0 if abs(off) < 1e-9 else off / max(sample.stderr, 1e-12)


def text_of(seed: int, max_qubits: int) -> str:
    """A random circuit of gates, service words, delays and distillations."""
    draw = random.Random(seed)
    n = draw.randint(2, max_qubits)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{n}] q;"]
    for _ in range(draw.randint(6, 24)):
        a, b = draw.sample(range(n), 2)
        kind = draw.random()
        if kind < 0.35:
            lines.append(f"{draw.choice(_ONE)} q[{a}];")
        elif kind < 0.9:
            lines.append(f"{draw.choice(_TWO)} q[{a}], q[{b}];")
        elif kind < 0.95:
            lines.append(f"delay[{draw.randint(1, 40)}ms] q[{a}];")
        else:
            lines.append(f"distillation{draw.choice(['', '(dejmps)'])} q[{a}];")
    return "\n".join([*lines, "h q[0];"])


def _snapshot(seed: int, qubits: int) -> registry.Snapshot:
    """Two to four linked nodes that have room for the circuit between them; calibrations differ."""
    draw = random.Random(seed + 1)
    sites = draw.randint(2, 4)
    found = registry.Snapshot(snapshot_id="s")
    for number in range(sites):
        node = found.nodes.add(
            node_id=f"n{number}",
            state_transfer=True,
            executors=["ensemble", "stabilizer"],
            readout_fidelity=0.99,
        )
        node.capacity.data_qubits, node.capacity.state_bytes = -(-qubits // sites) + 1, 1 << 30
        node.memory.t1_seconds, node.memory.t2_seconds = draw.uniform(0.3, 2), draw.uniform(0.2, 1)
        for service in SERVICE_TYPES:
            node.services.add(
                service_type=service, fidelity=draw.uniform(0.985, 0.9995), qubit_min=1, qubit_max=9,
                duration_ns=draw.randint(1_000, 60_000), availability=1,
            )  # fmt: skip
    for a in range(sites):
        for b in range(a + 1, sites):
            found.links.add(
                node_a=f"n{a}",
                node_b=f"n{b}",
                pair_fidelity=draw.uniform(0.93, 0.99),
                pair_rate_hz=draw.uniform(100, 1000),
            )
    return found


def compare(seed: int, *, max_qubits: int = 8, shots: int = 2000, samples: int = 1) -> Comparison:
    """One circuit, sampled so many times."""
    form = wire.to_proto(parse(text_of(seed, max_qubits)))
    qubits = sum(register.size for register in form.qubit_registers)
    topology = _snapshot(seed, qubits)
    plan = make_plan(
        planner.CompileRequest(circuit=form, topology=topology, shots=shots, noise=True), WEIGHTS
    )
    nodes = {node.node_id: node for node in topology.nodes}
    operations = [
        (operation, nodes[block.candidates[0].node_id])
        for block in plan.blocks
        for operation in operations_of(plan, block, form, memories_of(nodes))[0]
    ]
    noisy = [(op, Noise({s.service_type: s.fidelity for s in node.services})) for op, node in operations]
    vector = ideal([op for op, _ in operations], qubits)
    exact = float((vector.conj() @ Density(qubits).run(noisy).rho @ vector).real)
    found = []
    for number in range(samples):
        one = Pass(
            plan, form, topology, Draws(samples * seed + number + 1, 0, shots), stabilizer=False, noise=True
        )
        one.run(random.Random(number))
        states, row_of_shot = one.state(range(qubits))
        overlaps = np.abs(states @ vector.conj()) ** 2
        estimate = mean_of(overlaps[row_of_shot]).with_unseen(shots)
        assert estimate.stderr is not None
        found.append(Sampled(estimate.value, estimate.stderr))
    return Comparison(qubits, len(plan.ebits), tuple(found), exact, plan.predicted_fidelity)
