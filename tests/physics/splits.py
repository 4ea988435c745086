"""One program through planner, request builder and node executor on topologies that split it differently, in this process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from qmesh.circuit.v1 import circuit_pb2
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.errors import MeshError
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.parser import parse
from qmesh_node.domain.bits import Column, pack
from qmesh_node.domain.block import Block
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.executor import Execution, Executor
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tableau import Part, Tableau
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights
from qmesh_runtime.domain.counts import counts_of, final_columns
from qmesh_runtime.domain.profile import memories_of, noise_profile
from qmesh_runtime.domain.requests import operations_of
from tests import oracle
from tests.programs import Program, _apply, program

WEIGHTS = Weights(1000, 20_000, 50_000_000, 2000)
_NODES = (2, 3, 4, 5)
_EXACT = 1e-10


@dataclass(slots=True)
class Outcome:
    """What the splits of one program showed.

    Attributes:
        plans: how many different plans were executed.
        refused: topologies on which a code block has no room.
        blocks: blocks of all of them.
        nodes: the most nodes that one of them used.
        again: blocks that were executed again.
        dynamic: with measurements, resets or conditions before the end.
        fit: P value of the counts against the exact distribution.
        findings: what did not hold.
    """

    plans: int = 0
    refused: int = 0
    blocks: int = 0
    nodes: int = 0
    again: int = 0
    dynamic: bool = False
    fit: float = 1.0
    findings: list[str] = field(default_factory=list)


def snapshots(seed: int, qubits: int, *, code: bool) -> Iterator[registry.Snapshot]:
    """One node for everything, then two to five narrow nodes, one of them with room for a code of three and its ancilla."""
    yield snapshot_of([qubits + 1])
    draw = random.Random(seed)
    for count in _NODES:
        least = -(-qubits // count)
        sizes = [least + draw.randrange(2) for _ in range(count)]
        yield snapshot_of([max(4, sizes[0]) if code else sizes[0], *sizes[1:]])


def snapshot_of(sizes: Sequence[int]) -> registry.Snapshot:
    """Linked nodes of these data qubits, all with every service."""
    found = registry.Snapshot(snapshot_id="s")
    for number, size in enumerate(sizes):
        node = found.nodes.add(
            node_id=f"n{number}", state_transfer=True, executors=["ensemble", "stabilizer"]
        )
        node.capacity.data_qubits, node.capacity.state_bytes = size, 1 << 30
        for service in SERVICE_TYPES:
            node.services.add(
                service_type=service,
                fidelity=0.99,
                qubit_min=1,
                qubit_max=10,
                duration_ns=1000,
                availability=1,
            )
    for a in range(len(sizes)):
        for b in range(a + 1, len(sizes)):
            found.links.add(node_a=f"n{a}", node_b=f"n{b}", pair_fidelity=0.95, pair_rate_hz=100.0)
    return found


class Pass:
    """One pass over a plan: blocks in a random order that respects their dependencies."""

    def __init__(
        self,
        plan: planning.Plan,
        form: circuit_pb2.Circuit,
        topology: registry.Snapshot,
        draws: Draws,
        *,
        stabilizer: bool,
        noise: bool = False,
    ) -> None:
        """Takes the plan and its topology.

        `stabilizer`: fresh wires begin as stabilizer states whatever it says. `noise`: with that of the nodes.
        """
        profiles = {node.node_id: noise_profile(node) for node in topology.nodes}
        self._profiles: Mapping[str, gate.NoiseProfile] = profiles if noise else {}
        self._plan = plan
        self._form = form
        self._memories = memories_of({node.node_id: node for node in topology.nodes})
        self._draws = draws
        self._stabilizer = stabilizer
        self.kept: dict[tuple[int, int], Part] = {}
        self.columns: dict[int, Column] = {}
        self.last: dict[int, Part] = {}

    def run(self, rng: random.Random) -> None:
        """Executes everything."""
        done: set[int] = set()
        while len(done) < len(self._plan.blocks):
            ready = [
                b for b in self._plan.blocks if b.block_id not in done and done.issuperset(b.dependencies)
            ]
            block = rng.choice(ready)
            made = self.execute(block, {})
            for use, component in zip(block.outputs, made.components, strict=True):
                component.freeze()
                self.kept[use.component, use.position] = component
                self.last.update(dict.fromkeys(use.wires, component))
            self.columns.update(made.columns)
            done.add(block.block_id)

    def execute(self, block: planning.Block, recorded: Mapping[int, Column]) -> Execution:
        """One block from the versions that it reads, projecting on what was recorded."""
        operations, headers = operations_of(self._plan, block, self._form, self._memories)
        outputs = [
            gate.OutputComponent(component=use.component, position=use.position, wires=use.wires)
            for use in block.outputs
        ]
        stabilizer = self._stabilizer or block.executor == state.EXECUTOR_KIND_STABILIZER
        parts = [self.kept[use.component, use.position].borrowed() for use in block.inputs]
        reads = {version: self.columns[version] for version in block.reads}
        profile = self._profiles.get(block.candidates[0].node_id)
        made = Block(
            operations, headers, outputs, block.fresh_wires, self._draws, profile, stabilizer=stabilizer
        )
        return Executor(made, parts, reads, recorded, Memory(1 << 32).workspace()).run()

    def state(self, wires: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """What was executed, before the readout: amplitudes by row, the first wire least significant, and the row of each shot."""
        parts = {id(part): part for part in self.last.values()}.values()
        dense = [expanded(part, np.complex128) if isinstance(part, Tableau) else part for part in parts]
        touched = {wire for part in dense for wire in part.wires}
        dense += [Ensemble.zero(wire, self.shots, np.complex128) for wire in wires if wire not in touched]
        whole = reduce(lambda one, other: one.merge(other, lambda _rows: None), dense)
        n = len(wires)
        axes = [0, *(n - whole.wires.index(wire) for wire in reversed(wires))]
        states = whole.states.reshape(-1, *(2,) * n).transpose(axes).reshape(-1, 2**n)
        return states, whole.row_of_shot

    @property
    def shots(self) -> int:
        """How many."""
        return self._draws.shots

    def counts(self) -> dict[str, int]:
        """Counts as the runtime forms them."""
        shots = self._draws.shots
        packed = {version: pack(column) for version, column in self.columns.items()}
        return counts_of(self._form, final_columns(self._form, packed, shots), shots)

    def again(self, block: planning.Block) -> bool:
        """Whether a block, executed again on its recorded bits, makes the same bits and the very same states."""
        writes = {version: self.columns[version] for version in block.writes}
        made = self.execute(block, writes)
        for component in made.components:
            component.freeze()
        return all((made.columns[v] == column).all() for v, column in writes.items()) and all(
            component.digest() == self.kept[use.component, use.position].digest()
            for use, component in zip(block.outputs, made.components, strict=True)
        )


def counts_on(
    form: circuit_pb2.Circuit, topology: registry.Snapshot, *, seed: int, shots: int
) -> dict[str, int]:
    """Counts of a circuit as planned for a topology."""
    plan = make_plan(planner.CompileRequest(circuit=form, topology=topology, shots=shots), WEIGHTS)
    one = Pass(plan, form, topology, Draws(seed, 0, shots), stabilizer=False)
    one.run(random.Random(seed))
    return one.counts()


def try_splits(seed: int, *, max_qubits: int = 10, shots: int = 1024) -> Outcome:
    """One program on one node and on two to five, with amplitudes and from stabilizer states."""
    wanted = program(seed, max_qubits=max_qubits)
    form = wire.to_proto(parse(wanted.text))
    made, first, rng = Outcome(), None, random.Random(seed)
    made.dynamic = any(step.kind in {"reset", "parity"} or step.condition for step in wanted.steps) or any(
        op.kind == circuit_pb2.OPERATION_KIND_MEASURE and not op.terminal for op in form.operations
    )
    code = any(step.kind == "parity" for step in wanted.steps)
    for topology in snapshots(seed, wanted.num_qubits, code=code):
        try:
            plan = make_plan(planner.CompileRequest(circuit=form, topology=topology, shots=shots), WEIGHTS)
        except MeshError as refusal:
            if refusal.code != "NO_CAPABLE_NODE":
                raise
            made.refused += 1  # a code block does not fit on nodes that are so small
            continue
        made.plans += 1
        made.blocks += len(plan.blocks)
        made.nodes = max(made.nodes, len({block.candidates[0].node_id for block in plan.blocks}))
        for stabilizer in (False, True):
            one = Pass(plan, form, topology, Draws(seed + 1, 0, shots), stabilizer=stabilizer)
            one.run(rng)
            counts = one.counts()
            first = first or counts
            name = f"seed {seed} on {len(topology.nodes)} nodes{', from tableaux' * stabilizer}"
            if counts != first:
                made.findings.append(f"{name}: other counts")
            block = rng.choice(plan.blocks)
            made.again += 1
            if not one.again(block):
                made.findings.append(f"{name}: block {block.block_id} executed again made something else")
            if not made.dynamic and (error := _distance(wanted, plan, one)) > _EXACT:
                made.findings.append(f"{name}: the state is off by {error:.1e}")
    made.fit = oracle.fit(first or {}, wanted.distribution())
    return made


def _distance(wanted: Program, plan: planning.Plan, one: Pass) -> float:
    """1 - |<Qiskit's state|executed>|^2 before the readout."""
    n = wanted.num_qubits
    exact = np.zeros(2**n, dtype=complex)
    exact[0] = 1
    for step in wanted.steps:
        if step.kind == "unitary":
            exact = _apply(exact, step, n)
    states, _ = one.state([plan.final_wires[qubit] for qubit in range(n)])
    assert len(states) == 1
    vector = states[0]
    return float(abs(1 - abs(np.vdot(exact, vector)) ** 2))
