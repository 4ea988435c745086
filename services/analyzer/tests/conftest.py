"""Requests as the runtime makes them, and an oracle that is Qiskit's own density matrices."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Operator

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.conditions import evaluate
from qmesh_model.parser import parse
from qmesh_model.wire import to_proto

EXAMPLES = Path(__file__).parents[3] / "examples"
_COLLAPSED = 1e-12


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """The functions of this module: test folders are no packages, so tests cannot import them."""
    return sys.modules[__name__]


@dataclass(frozen=True)
class Request:
    """One analysis as the service gets it."""

    header: analysis.AnalysisHeader
    blobs: list[tuple[bytes, int]] = field(default_factory=list)

    def with_rows(
        self,
        qubits: Sequence[int],
        states: Any,
        row_of_shot: Sequence[int],
        *,
        first: int = 0,
        single: bool = False,
    ) -> Request:
        """Adds executed rows; wires are the qubits, as `final_wires` says."""
        rows = np.atleast_2d(np.asarray(states)).astype(np.complex64 if single else np.complex128)
        data = rows.tobytes() + np.asarray(row_of_shot, dtype="<u4").tobytes()
        ref = state.ComponentRef(
            wires=qubits,
            executor=state.EXECUTOR_KIND_ENSEMBLE,
            precision=state.PRECISION_SINGLE if single else state.PRECISION_DOUBLE,
            shots=state.ShotRange(first=first, count=len(row_of_shot)),
            rows=len(rows),
            bytes=len(data),
        )
        self.header.rows.append(ref)
        self.blobs.append((data, rows.nbytes))
        return self


def request(text: str, *, shots: int = 4, counts: Mapping[str, int] | None = None, **more: Any) -> Request:
    """A request for a circuit without rows."""
    form = to_proto(parse(text))
    return Request(
        analysis.AnalysisHeader(
            job_id="j",
            circuit=form,
            shots=shots,
            counts=counts or {},
            final_wires=range(form.num_qubits),
            **more,
        )
    )


def example(name: str) -> str:
    """Text of an example circuit."""
    return (EXAMPLES / f"{name}.qasm").read_text()


@pytest.fixture
def seed_request() -> Request:
    """The seed's example with perfectly executed rows in two components of two slices."""
    made = request(example("seed"), shots=6, counts={"0": 6}, estimated_execution_fidelity=1.0)
    plus = np.array([1, 1]) / np.sqrt(2)
    made.with_rows([0], [1, 0], [0] * 6)
    made.with_rows([1], plus, [0] * 4)
    return made.with_rows([1], -plus, [0] * 2, first=4)


def unitary_part(operation: Operation) -> QuantumCircuit | None:
    """The operation as Qiskit's own method of the same name."""
    quantum = QuantumCircuit(len(operation.qubits))
    operands = list(range(len(operation.qubits)))
    if operation.kind in {Kind.TELEPORT, Kind.SWAP}:
        quantum.swap(0, 1)
    elif operation.kind is Kind.GATE and operation.name == "bell_pair":
        quantum.h(0)
        quantum.cx(0, 1)
    elif operation.kind is Kind.GATE:
        make: Callable[..., Any] = getattr(quantum, operation.name)
        make(*operation.parameters, *operands)
    else:
        return None
    return quantum


@dataclass
class Oracle:
    """Unnormalised density matrices by the values of all versions of classical bits."""

    form: Circuit
    histories: dict[tuple[tuple[int, bool], ...], DensityMatrix]

    @property
    def rho(self) -> DensityMatrix:
        """The state averaged over outcomes."""
        return DensityMatrix(sum(history.data for history in self.histories.values()))

    def distribution(self) -> dict[str, float]:
        """P of each bit string."""
        readers = {op.writes[0].version: op.qubits[0] for op in self.form.operations if op.terminal}
        result: dict[str, float] = {}
        for bits, history in self.histories.items():
            for index, p in enumerate(history.probabilities()):
                values = dict(bits) | {
                    version: bool(index >> qubit & 1) for version, qubit in readers.items()
                }
                key = " ".join(
                    "".join(
                        str(int(values.get(self.form.final_versions[register.offset + k], False)))
                        for k in reversed(range(register.size))
                    )
                    for register in reversed(self.form.bit_registers)
                )
                result[key] = result.get(key, 0.0) + p
        return {key: p for key, p in result.items() if p > _COLLAPSED}


def oracle(text: str) -> Oracle:
    """Runs a circuit up to its terminal measurements with Qiskit's `DensityMatrix`, outcome by outcome."""
    form = parse(text)
    histories: dict[tuple[tuple[int, bool], ...], DensityMatrix] = {
        (): DensityMatrix.from_label("0" * form.num_qubits)
    }
    for operation in form.operations:
        if operation.terminal:
            continue
        after: dict[tuple[tuple[int, bool], ...], DensityMatrix] = {}
        for bits, rho in histories.items():
            for key, value in _after(operation, dict(bits), rho):
                frozen = tuple(sorted(key.items()))
                after[frozen] = DensityMatrix(after[frozen].data + value.data) if frozen in after else value
        histories = after
    return Oracle(form, histories)


def _after(
    operation: Operation, bits: dict[int, bool], rho: DensityMatrix
) -> list[tuple[dict[int, bool], DensityMatrix]]:
    writes = operation.writes
    if operation.condition is not None and not evaluate(
        operation.condition, lambda version: bits.get(version, False)
    ):
        return [(bits | {write.version: bits.get(write.previous, False) for write in writes}, rho)]
    if operation.kind is Kind.MEASURE:
        result = []
        for outcome in (False, True):
            projector = Operator(np.diag([not outcome, outcome]).astype(complex))
            kept = DensityMatrix(rho.evolve(projector, [operation.qubits[0]]).data)
            if kept.trace().real > _COLLAPSED:
                result.append((bits | {writes[0].version: outcome}, kept))
        return result
    if operation.kind is Kind.RESET:
        kraus = [np.array([[1, 0], [0, 0]]), np.array([[0, 1], [0, 0]])]
        parts = [rho.evolve(Operator(k.astype(complex)), [operation.qubits[0]]).data for k in kraus]
        return [(bits, DensityMatrix(sum(parts)))]
    unitary = unitary_part(operation)
    return [(bits, rho if unitary is None else rho.evolve(Operator(unitary), list(operation.qubits)))]


def random_circuit(seed: int, *, dynamic: bool = True, operations: int = 24) -> str:
    """A seeded circuit of 2 to 4 qubits; dynamic ones measure, reset and branch in the middle."""
    draw = random.Random(seed)
    n = draw.randint(2, 4)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{n}] q;", "bit[2] c;", f"bit[{n}] d;"]
    for _ in range(operations):
        a, b = draw.sample(range(n), 2)
        angle = draw.uniform(-3, 3)
        gate = draw.choice(
            (
                f"h q[{a}];",
                f"t q[{a}];",
                f"ry({angle}) q[{a}];",
                f"rz({angle}) q[{a}];",
                f"cx q[{a}], q[{b}];",
                f"cp({angle}) q[{a}], q[{b}];",
                f"swap q[{a}], q[{b}];",
                f"u({angle}, 0.3, {angle}) q[{a}];",
            )
        )
        kind = draw.randrange(8) if dynamic else 7
        lines.append(
            {
                0: f"c[{draw.randrange(2)}] = measure q[{a}];",
                1: f"if (c == {draw.randrange(4)}) {{ {gate} }}",
                2: f"if (c[0]) {{ {gate} }} else {{ z q[{b}]; }}",
                3: f"reset q[{a}];" if draw.random() < 0.5 else f"if (c[1]) {{ c[0] = measure q[{a}]; }}",
            }.get(kind, gate)
        )
    return "\n".join([*lines, "d = measure q;"])
