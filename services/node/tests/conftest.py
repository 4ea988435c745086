"""Blocks as a planner cuts them, nodes without a network, and an oracle that enumerates branches with Qiskit."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import C3SXGate, CU3Gate, QFTGate, U2Gate
from qiskit.quantum_info import Statevector

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh_fabric.identity import Identity
from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind
from qmesh_model.components import find_components
from qmesh_model.conditions import evaluate
from qmesh_model.dag import dependencies
from qmesh_model.parser import parse
from qmesh_model.wire import to_proto
from qmesh_model.wires import track_wires
from qmesh_node.application import RECORD_DOMAIN, NodeService
from qmesh_node.domain.admission import Limits, Offer
from qmesh_node.domain.block import Block
from qmesh_node.domain.executor import Execution, Executor
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.noise import Behaviour
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.store import VersionStore
from qmesh_node.domain.tableau import Part
from qmesh_node.domain.token import TokenChecker

HEADER = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
COLLAPSED = 1e-12
Bits = NDArray[np.bool_]


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """The functions of this module: test folders are no packages, so tests cannot import them."""
    return sys.modules[__name__]


# -- blocks ----------------------------------------------------------------------------------------------------------


@dataclass
class Cut:
    """One block of a cut circuit: what it reads, makes and begins. Versions are (component, position)."""

    operations: list[int]
    inputs: list[tuple[int, int]] = field(default_factory=list)
    outputs: list[tuple[int, int]] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)


def node_operations(circuit: Circuit, indices: Sequence[int]) -> list[gate.NodeOperation]:
    """Operations on wires as a runtime sends them, each a fragment of its own."""
    track, message = track_wires(circuit), to_proto(circuit)
    made = []
    for number, index in enumerate(indices):
        source = message.operations[index]
        operation = gate.NodeOperation(
            index=source.index,
            kind=source.kind,
            name=source.name,
            service_type=source.service_type,
            wires=track.of_operation[index],
            parameters=[parameter.value for parameter in source.parameters],
            writes=source.writes,
            terminal=source.terminal,
            fragment=number,
        )
        if source.HasField("condition"):
            operation.condition.CopyFrom(source.condition)
        made.append(operation)
    return made


def order_of(circuit: Circuit, rng: random.Random | None) -> list[int]:
    """An order that a plan may have: dependencies, collapses of one component, parts before their merge, reads last."""
    components = find_components(circuit, track_wires(circuit))
    final = list(range(len(components.all)))
    for component in reversed(components.all):
        for part in component.merged_from:
            final[part] = final[component.number]
    needs = [set(edges) for edges in dependencies(circuit)]
    for component in components.all:
        for part in component.merged_from:
            needs[component.operations[0]] |= set(components.all[part].operations)
        for read in component.readout:
            needs[read] |= {
                i
                for c in components.all
                if final[c.number] == component.number
                for i in c.operations
                if i != read
            }
    last: dict[int, int] = {}
    for operation in circuit.operations:
        if operation.collapses:
            root = final[components.of_operation[operation.index]]
            needs[operation.index] |= {last[root]} if root in last else set()
            last[root] = operation.index
    order: list[int] = []
    waiting = {operation.index for operation in circuit.operations}
    while waiting:
        ready = sorted(index for index in waiting if needs[index].isdisjoint(waiting))
        order.append(rng.choice(ready) if rng else ready[0])
        waiting.discard(order[-1])
    return [index for index in order if circuit.operations[index].needs_node]


def cut(circuit: Circuit, rng: random.Random | None) -> list[Cut]:
    """The whole circuit as one block, or in random blocks in a random order."""
    track = track_wires(circuit)
    components = find_components(circuit, track)
    of_wire = {c.wires[0]: c.number for c in components.all if not c.merged_from}
    version: dict[int, int] = {}
    blocks = []
    reads = {index: component.readout for component in components.all for index in component.readout}
    order = order_of(
        circuit, rng
    )  # the joint readout of a component is one unit, at the place of its last read
    units = [
        reads.get(i, [i]) for at, i in enumerate(order) if set(reads.get(i, [i])) <= set(order[: at + 1])
    ]
    while units:
        size = rng.randint(1, 4) if rng else len(units)
        block, units = Cut([index for unit in units[:size] for index in unit]), units[size:]
        live: set[int] = set()
        for index in block.operations:
            parts = list(dict.fromkeys(of_wire[wire] for wire in track.of_operation[index]))
            for part in parts:
                if part in live:
                    continue
                live.add(part)
                if part in version:
                    block.inputs.append((part, version[part]))
                else:
                    block.fresh.extend(components.all[part].wires)
            if circuit.operations[index].kind is not Kind.TELEPORT and len(parts) > 1:
                merged = components.of_operation[index]
                of_wire.update(dict.fromkeys(components.all[merged].wires, merged))
                live = (live - set(parts)) | {merged}
        for part in sorted(live):
            version[part] = version.get(part, -1) + 1
            block.outputs.append((part, version[part]))
        blocks.append(block)
    return blocks


@dataclass
class Run:
    """What all blocks of a circuit made."""

    versions: dict[tuple[int, int], Part] = field(default_factory=dict)
    columns: dict[int, Bits] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)

    def last(self) -> list[Part]:
        """The newest version of each component that still is one."""
        newest = dict(sorted(self.versions))
        found = [self.versions[key] for key in newest.items()]
        return [e for e in found if not any(set(e.wires) < set(other.wires) for other in found)]


def execute(block: Block, *inputs: Part, **more: Any) -> Execution:
    """One block with memory enough."""
    columns, recorded = more.get("columns", {}), more.get("recorded", {})
    memory = Memory(more.get("limit", 1 << 30))
    shared = [component.borrowed() for component in inputs]
    return Executor(block, shared, columns, recorded, memory.workspace(), 22).run()


def run_cuts(circuit: Circuit, cuts: Sequence[Cut], draws: Draws, **more: Any) -> Run:
    """Executes blocks one after another, as a runtime would."""
    run = Run()
    components = find_components(circuit, track_wires(circuit))
    for block in cuts:
        operations = node_operations(circuit, block.operations)
        execution = execute(
            Block(
                operations=operations,
                fragments=[gate.FragmentHeader(fragment_id=str(n)) for n in range(len(operations))],
                outputs=[
                    gate.OutputComponent(component=c, position=p, wires=components.all[c].wires)
                    for c, p in block.outputs
                ],
                fresh_wires=block.fresh,
                draws=draws,
                profile=more.get("profile"),
                precision=more.get("precision", state.PRECISION_DOUBLE),
                stabilizer=more.get("stabilizer", False),
            ),
            *(run.versions[key] for key in block.inputs),
            columns=run.columns,
            recorded=more.get("recorded", {}),
        )
        for component in execution.components:
            component.freeze()
        run.versions.update(zip(block.outputs, execution.components, strict=True))
        run.columns.update(execution.columns)
        run.executions.append(execution)
    return run


def counts_of(circuit: Circuit, run: Run) -> Counter[tuple[int, ...]]:
    """Counts by the final bits, bit 0 first."""
    shots = len(next(iter(run.columns.values())))
    zero = np.zeros(shots, dtype=np.bool_)
    final = [zero if v < 0 else run.columns[v] for v in circuit.final_versions]
    return Counter(tuple(int(b) for b in row) for row in np.array(final, dtype=int).T)


# -- the oracle ------------------------------------------------------------------------------------------------------


def qiskit_gate(name: str, parameters: Sequence[float]) -> tuple[QuantumCircuit, int]:
    """A unitary word as Qiskit's own gate on qubits 0, 1, ..., and its width."""
    width = {"bell_pair": 2, "teleport": 2, "c4x": 5, "c3sqrtx": 4}.get(name) or gates.GATES[name].num_qubits
    made = QuantumCircuit(width)
    qubits = list(range(width))
    own = {"u2": U2Gate, "cu3": CU3Gate, "c3sqrtx": C3SXGate}
    if name == "bell_pair":
        made.h(0)
        made.cx(0, 1)
    elif name == "teleport":
        made.swap(0, 1)
    elif name in own:
        made.append(own[name](*parameters), qubits)
    elif name in {"c2p", "c3p", "c4p"}:
        made.mcp(*parameters, qubits[:-1], qubits[-1])
    elif name in {"c2u", "c3u", "c4u"}:
        theta, phi, lam, gamma = parameters
        inner = QuantumCircuit(1, global_phase=gamma)
        inner.u(theta, phi, lam, 0)
        made.append(inner.to_gate().control(width - 1), qubits)
    elif name in {"c3x", "c4x"}:
        made.mcx(qubits[:-1], qubits[-1])
    elif name == "rc3x":
        made.rcccx(*qubits)
    elif name != "u0":
        getattr(made, name)(*parameters, *qubits)
    return made, width


@dataclass(frozen=True)
class Branch:
    """One history: its weight, its state, the bits so far."""

    probability: float
    vector: Statevector
    bits: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One statement of a random program: the text, and what Qiskit does for it."""

    text: str
    kind: str
    qubits: tuple[int, ...]
    circuit: QuantumCircuit | None = None
    bit: int = 0
    when: Callable[[tuple[int, ...]], bool] = lambda _bits: True


def _split(branch: Branch, qubit: int) -> list[tuple[int, Branch]]:
    found = []
    for value in (0, 1):
        data = branch.vector.data.reshape(-1, 2, 1 << qubit).copy()
        data[:, 1 - value, :] = 0
        norm = float(np.sum(np.abs(data) ** 2))
        if norm > COLLAPSED:
            vector = Statevector(data.reshape(-1) / np.sqrt(norm))
            found.append((value, replace(branch, probability=branch.probability * norm, vector=vector)))
    return found


def _advance(branch: Branch, step: Step) -> list[Branch]:
    if not step.when(branch.bits):
        return [branch]
    if step.kind == "gate":
        return [replace(branch, vector=branch.vector.evolve(step.circuit, list(step.qubits)))]
    made = []
    for value, after in _split(branch, step.qubits[0]):
        if step.kind == "measure":
            bits = (*after.bits[: step.bit], value, *after.bits[step.bit + 1 :])
            made.append(replace(after, bits=bits))
        else:
            flip = QuantumCircuit(1)
            if value:
                flip.x(0)
            made.append(replace(after, vector=after.vector.evolve(flip, [step.qubits[0]])))
    return made


def branches_of(qubits: int, bits: int, steps: Sequence[Step]) -> list[Branch]:
    """Every history of a program, exactly."""
    branches = [Branch(1.0, Statevector.from_label("0" * qubits), (0,) * bits)]
    for step in steps:
        branches = [after for branch in branches for after in _advance(branch, step)]
    return branches


def distribution_of(branches: Sequence[Branch]) -> dict[tuple[int, ...], float]:
    """Probability of the final bits."""
    found: dict[tuple[int, ...], float] = {}
    for branch in branches:
        found[branch.bits] = found.get(branch.bits, 0.0) + branch.probability
    return found


# -- random programs -------------------------------------------------------------------------------------------------

_WORDS = {
    "h": ("h", "hadamard"),
    "cx": ("cx", "cnot"),
    "cu": ("cu", "controlled_unitary"),
    "u": ("U", "programmable_gate"),
}


def random_gate(rng: random.Random, qubits: int, name: str | None = None) -> Step:
    """One gate of the catalogue, or a Fourier transform, on random operands."""
    fitting = [n for n, g in gates.GATES.items() if g.num_qubits <= qubits]
    name = name or rng.choice([*fitting, "qft", "iqft"])
    if name in {"qft", "iqft"}:
        width = rng.randint(1, qubits)
        made = QuantumCircuit(width)
        made.append(QFTGate(width) if name == "qft" else QFTGate(width).inverse(), range(width))
        values: list[float] = []
    else:
        values = [rng.uniform(-7, 7) for _ in range(gates.GATES[name].num_params)]
        made, width = qiskit_gate(name, values)
    operands = tuple(rng.sample(range(qubits), width))
    written = rng.choice(_WORDS.get(name, (name,)))
    arguments = f"({', '.join(map(repr, values))})" if values else ""
    text = f"{written}{arguments} {', '.join(f'q[{q}]' for q in operands)};"
    return Step(text, "gate", operands, made)


def _conditioned(rng: random.Random, step: Step, bits: int) -> Step:
    value, bit = rng.randrange(1 << bits), rng.randrange(bits)
    number: Callable[[tuple[int, ...]], int] = lambda b: sum(x << i for i, x in enumerate(b))  # noqa: E731
    text, when = rng.choice(
        [
            (f"c == {value}", lambda b: number(b) == value),
            (f"c != {value}", lambda b: number(b) != value),
            (f"c >= {value}", lambda b: number(b) >= value),
            (f"c[{bit}]", lambda b: b[bit] == 1),
            (f"!c[{bit}] || c[0]", lambda b: b[bit] == 0 or b[0] == 1),
        ]
    )
    return replace(step, text=f"if ({text}) {{ {step.text} }}", when=when)


def random_program(seed: int, *, dynamic: bool) -> tuple[int, int, list[Step], Circuit]:
    """A seeded program over 1 to 6 qubits: (qubits, bits, statements, normal form); all qubits are read at the end."""
    rng = random.Random(seed)
    qubits = rng.randint(2, 5) if dynamic else rng.randint(1, 6)
    steps = []
    for _ in range(rng.randint(8, 16)):
        draw = rng.random() if dynamic else 0.0
        if draw < 0.6:
            steps.append(random_gate(rng, qubits))
        elif draw < 0.75:
            steps.append(_conditioned(rng, random_gate(rng, qubits), qubits))
        elif draw < 0.9:
            q, b = rng.randrange(qubits), rng.randrange(qubits)
            step = Step(f"c[{b}] = measure q[{q}];", "measure", (q,), bit=b)
            steps.append(_conditioned(rng, step, qubits) if rng.random() < 0.3 else step)
        else:
            q = rng.randrange(qubits)
            step = Step(f"reset q[{q}];", "reset", (q,))
            steps.append(_conditioned(rng, step, qubits) if rng.random() < 0.3 else step)
    order = rng.sample(range(qubits), qubits)
    steps += [Step(f"c[{b}] = measure q[{q}];", "measure", (q,), bit=b) for b, q in enumerate(order)]
    text = HEADER + f"qubit[{qubits}] q;\nbit[{qubits}] c;\n" + "\n".join(step.text for step in steps)
    return qubits, qubits, steps, parse(text)


def parsed(body: str, qubits: int, bits: int = 0) -> Circuit:
    """A circuit over `q`, with bits `c` where there are any."""
    return parse(HEADER + f"qubit[{qubits}] q;\n" + (f"bit[{bits}] c;\n" if bits else "") + body)


def bits_by_model(circuit: Circuit, columns: Mapping[int, Bits], index: int) -> Any:
    """The truth of an operation's condition by the model's own evaluation."""
    condition = circuit.operations[index].condition
    assert condition is not None
    return evaluate(condition, columns.__getitem__, np.zeros_like(next(iter(columns.values()))))


# -- a node without a network ----------------------------------------------------------------------------------------

RESERVATION = Identity(b"reservation".ljust(32))
_TOKEN_DOMAIN = b"qmesh-token-v1\0"


def token(node_id: str, key: Identity = RESERVATION, **changed: Any) -> bytes:
    """A reservation token for a node."""
    import hashlib

    claims = reservation.TokenClaims(
        job_id="job",
        node_id=node_id,
        fence=1,
        service_types=gates.SERVICE_TYPES,
        expires_at=time.time() + 60,
        key_id=hashlib.sha256(key.public_key).digest()[:8],
        tenant_id="tenant",
    )
    for name, value in changed.items():
        if name == "service_types":
            claims.ClearField("service_types")
            claims.service_types.extend(value)
        else:
            setattr(claims, name, value)
    body = claims.SerializeToString()
    return reservation.Token(claims=body, signature=key.sign(_TOKEN_DOMAIN + body)).SerializeToString()


class Lines(list[Mapping[str, object]]):
    """A journal that is a list."""

    def append(self, kind: str, body: Mapping[str, object]) -> int:  # type: ignore[override]  # a journal's append
        """Keeps the line."""
        super().append({"kind": kind, **body})
        return len(self)


@dataclass
class Node:
    """A node's application with its store, and versions of other holders that it can pull."""

    service: NodeService
    store: VersionStore
    memory: Memory
    identity: Identity
    journal: Lines
    elsewhere: dict[bytes, Part]
    pulled: list[state.ComponentRef]

    async def pull(self, ref: state.ComponentRef, *_: object) -> Part:
        """The source of versions from other holders."""
        self.pulled.append(ref)
        return self.elsewhere[ref.digest]

    async def ask(self, request: gate.ExecuteRequest) -> gate.ExecutionRecord:
        """Executes; the record, whose signature has been checked."""
        from qmesh_fabric.identity import verify

        response = await self.service.execute(request)
        assert verify(self.identity.peer_id, RECORD_DOMAIN + response.record, response.signature)
        return gate.ExecutionRecord.FromString(response.record)


def node(
    name: str = "node",
    *,
    limit: int = 1 << 26,
    concurrency: int = 4,
    behaviour: Behaviour | None = None,
    offers: Mapping[str, Offer] | None = None,
    clock: Callable[[], float] = time.time,
    **limits: int,
) -> Node:
    """A node that offers everything unless told otherwise."""
    identity, memory, journal = Identity(name.encode().ljust(32)), Memory(limit), Lines()
    elsewhere: dict[bytes, Part] = {}
    store = VersionStore(memory)
    made: Node

    class Source:
        async def pull(self, ref: state.ComponentRef, *rest: object) -> Part:
            return await made.pull(ref, *rest)

    service = NodeService(
        signer=identity,
        memory=memory,
        store=store,
        tokens=TokenChecker([RESERVATION.public_key]),
        source=Source(),
        journal=journal,
        offers=offers or dict.fromkeys(gates.SERVICE_TYPES, Offer()),
        concurrency=concurrency,
        behaviour=behaviour or Behaviour(),
        epoch=1,
        limits=Limits(**limits),
        clock=clock,
    )
    made = Node(service, store, memory, identity, journal, elsewhere, [])
    return made


def request(circuit: Circuit, node_id: str, *, shots: int = 64, **changed: Any) -> gate.ExecuteRequest:
    """One block that is the whole circuit."""
    (block,) = cut(circuit, None)
    components = find_components(circuit, track_wires(circuit))
    operations = node_operations(circuit, block.operations)
    made = gate.ExecuteRequest(
        execution_id="execution",
        job_id="job",
        tenant_id="tenant",
        plan_id="plan",
        fence=1,
        reservation_token=token(node_id),
        seed=7,
        shots=state.ShotRange(count=shots),
        fresh_wires=sorted(block.fresh),
        operations=operations,
        fragments=[gate.FragmentHeader(fragment_id=str(n)) for n in range(len(operations))],
        outputs=[
            gate.OutputComponent(component=c, position=p, wires=components.all[c].wires)
            for c, p in block.outputs
        ],
    )
    for name, value in changed.items():
        setattr(made, name, value)
    return made
