"""Logical error rates of the syndrome word, through planner, request builder and node executor, beside Stim's."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.parser import parse
from qmesh_node.domain.randomness import Draws
from qmesh_planner.domain.plan import make_plan
from tests.physics.splits import WEIGHTS, Pass
from tests.physics.stim_codes import STIM_CODES, Rates, Sample, StimMemory, judged

CODES = [(name, basis) for name, code in STIM_CODES.items() for basis in code.logical]
"""Codes and the bases in which their logical states are kept."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory experiment: a logical state of a code is kept for some rounds.

    Attributes:
        code: name of the code.
        basis: z keeps |0>, x keeps |+>.
        error: probability that a CX errs; reads and resets err as often, one-qubit gates half as often.
        rounds: extractions.
    """

    code: str
    basis: str
    error: float
    rounds: int

    @property
    def rates(self) -> Rates:
        """Error probabilities of its parts."""
        return Rates(self.error, self.error / 2, self.error)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One fraction as it was found twice.

    Attributes:
        memory: the experiment.
        what: of which event.
        ours: hits and trials of the mesh's executor.
        stim: hits and trials of Stim.
    """

    memory: Memory
    what: str
    ours: tuple[int, int]
    stim: tuple[int, int]

    @staticmethod
    def rate(found: tuple[int, int]) -> tuple[float, float]:
        """Fraction and its standard error."""
        hits, trials = found
        p = hits / trials
        return p, math.sqrt(max(p * (1 - p), 1 / trials) / trials)

    @property
    def deviation(self) -> float:
        """Difference in combined standard errors, the fractions taken as equal."""
        (a, n), (b, m) = self.ours, self.stim
        p = (a + b) / (n + m)
        sigma = math.sqrt(max(p * (1 - p), 1 / (n + m)) * (1 / n + 1 / m))
        return (a / n - b / m) / sigma


def _text(memory: Memory) -> str:
    code = STIM_CODES[memory.code]
    size, checks = code.size, len(code.x_checks) + len(code.z_checks)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{size}] q;", f"bit[{size}] c;"]
    lines += [f"bit[{checks}] s{n};" for n in range(memory.rounds)]
    if not code.corrects:
        lines += ["h q[0];", *[f"cx q[0], q[{q}];" for q in range(1, size)]]
    turn = ["h q;"] if memory.basis == "x" else []
    words = [f"syndrome_extraction({memory.code}) q -> s{n};" for n in range(memory.rounds)]
    return "\n".join([*lines, *turn, *words, *turn, "c = measure q;"])


def _node(rates: Rates, size: int) -> registry.Snapshot:
    """One node whose average gate fidelities stand for the error probabilities."""
    found = registry.Snapshot(snapshot_id="s")
    node = found.nodes.add(
        node_id="n0",
        state_transfer=True,
        executors=["ensemble", "stabilizer"],
        readout_fidelity=1 - rates.read,
    )
    node.capacity.data_qubits, node.capacity.state_bytes = size + 1, 1 << 40
    for service in SERVICE_TYPES:
        fidelity = {
            "cnot": 1 - rates.cx * 4 / 5,
            "hadamard": 1 - rates.single * 2 / 3,
            "programmable_gate": 1 - rates.single * 2 / 3,
        }.get(service, 0.5)
        node.services.add(service_type=service, fidelity=fidelity, qubit_min=1, qubit_max=9, availability=1)
    return found


def ours(memory: Memory, shots: int, seed: int, *, stabilizer: bool) -> Sample:
    """The mesh's executor: the program with the word, as a plan cuts it."""
    code = STIM_CODES[memory.code]
    form = wire.to_proto(parse(_text(memory)))
    topology = _node(memory.rates, code.size)
    plan = make_plan(
        planner.CompileRequest(circuit=form, topology=topology, shots=shots, noise=True), WEIGHTS
    )
    one = Pass(plan, form, topology, Draws(seed, 0, shots), stabilizer=stabilizer, noise=True)
    one.run(random.Random(seed))
    rounds = [
        np.array([one.columns[write.version] for write in operation.writes])
        for operation in form.operations
        if operation.kind == circuit_pb2.OPERATION_KIND_SYNDROME
    ]
    final: NDArray[np.bool_] = np.array(
        [one.columns[version] for version in form.final_versions[: code.size]]
    )
    return judged(code, memory.basis, rounds, final)


def compare(memory: Memory, *, shots: int, batches: int, seed: int, stabilizer: bool) -> list[Comparison]:
    """The executor and Stim on one experiment, `batches` times `shots` each."""
    found = []
    for batch in range(batches):
        number = seed * 1000 + batch
        sampled = StimMemory(memory.code, memory.basis, memory.rates, shots, number)
        found.append((ours(memory, shots, number, stabilizer=stabilizer), sampled.run(memory.rounds)))
    mine, theirs = [one for one, _ in found], [one for _, one in found]
    if STIM_CODES[memory.code].corrects:
        return [
            Comparison(memory, "logical error", _failed(mine), _failed(theirs)),
            Comparison(memory, "last syndrome not 0", _fired(mine), _fired(theirs)),
        ]
    return [
        Comparison(memory, "undetected logical error", _failed(mine), _failed(theirs)),
        Comparison(memory, "detected", _detected(mine), _detected(theirs)),
    ]


def _failed(samples: Sequence[Sample]) -> tuple[int, int]:
    return sum(int(s.failed.sum()) for s in samples), sum(len(s.failed) for s in samples)


def _fired(samples: Sequence[Sample]) -> tuple[int, int]:
    return sum(int(s.fired.sum()) for s in samples), sum(len(s.fired) for s in samples)


def _detected(samples: Sequence[Sample]) -> tuple[int, int]:
    columns = [s.detected for s in samples if s.detected is not None]
    return sum(int(c.sum()) for c in columns), sum(len(c) for c in columns)
