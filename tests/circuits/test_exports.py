"""What Qiskit writes is read as the circuit that it was: the texts that most researchers have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm2, qasm3, transpile
from qiskit.circuit import Parameter
from qiskit.circuit import library as lib
from qiskit.circuit.classical import expr
from qiskit.circuit.random import random_circuit

from qmesh_model.parser import parse
from tests.circuits.meaning import difference, form_unitary, qiskit_unitary

TOLERANCE = 1e-9
WRITERS: dict[str, Callable[[QuantumCircuit], str]] = {"2": qasm2.dumps, "3": qasm3.dumps}


def apart(circuit: QuantumCircuit, text: str) -> float:
    """Largest difference of the two unitaries, global phase apart: neither language has one that Qiskit writes."""
    have, want = form_unitary(parse(text)), qiskit_unitary(circuit)
    place = np.unravel_index(np.abs(want).argmax(), want.shape)
    phase = have[place] / want[place]
    return float(np.abs(have - phase * want).max())


def library() -> dict[str, QuantumCircuit]:
    """Circuits of gates that are written with definitions of their own."""
    found = {"transform": QuantumCircuit(4), "controls": QuantumCircuit(6), "definitions": QuantumCircuit(2)}
    found["transform"].append(lib.QFTGate(4), range(4))
    found["controls"].mcx([0, 1, 2, 3, 4], 5)
    found["controls"].append(lib.RYGate(0.3).control(2, ctrl_state=1, annotated=False), [0, 1, 2])
    inner = QuantumCircuit(2, name="my gate-1")
    inner.h(0)
    inner.cx(0, 1)
    found["definitions"].append(inner.to_gate(), [0, 1])
    found["definitions"].append(inner.to_gate().inverse(), [1, 0])
    found["definitions"].unitary(np.diag([1, 1j, -1, 1]), [0, 1])
    found["lowered"] = transpile(found["controls"], basis_gates=["rz", "sx", "x", "cz"])
    return found


LIBRARY = library()


@pytest.mark.parametrize("version", sorted(WRITERS))
@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_are_read(seed: int, version: str) -> None:
    """Gates of the whole library, definitions that the exporter adds included."""
    circuit = random_circuit(4, 5, seed=seed)
    assert apart(circuit, WRITERS[version](circuit)) < TOLERANCE


@pytest.mark.parametrize("version", sorted(WRITERS))
@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_library_circuits_are_read(name: str, version: str) -> None:
    """Transforms, many controls, opened and closed ones, unitaries, and circuits lowered for hardware."""
    assert apart(LIBRARY[name], WRITERS[version](LIBRARY[name])) < TOLERANCE


def branching() -> QuantumCircuit:
    """A circuit with every kind of condition that Qiskit writes."""
    first, second = ClassicalRegister(2, "a"), ClassicalRegister(1, "b")
    circuit = QuantumCircuit(QuantumRegister(3, "q"), first, second)
    circuit.h([0, 1, 2])
    circuit.measure([0, 1], first)
    with circuit.if_test((first, 3)) as otherwise:
        circuit.x(2)
    with otherwise:
        circuit.z(2)
    with circuit.if_test((second[0], 0)):
        circuit.y(1)
    with circuit.if_test(expr.logic_and(first[0], expr.logic_not(first[1]))):
        circuit.h(2)
    with circuit.if_test(expr.less(first, 2)):
        circuit.reset(0)
    with circuit.if_test(expr.lift(first[0])):
        circuit.s(2)
    circuit.measure(2, second[0])
    return circuit


def test_branches_are_read() -> None:
    """Conditions on bits, on registers and on expressions, with `else`."""
    circuit = branching()
    assert difference(circuit, parse(qasm3.dumps(circuit)), dynamic=True) < TOLERANCE


def test_loops_and_inputs_are_read() -> None:
    """A loop with its index as an angle, and parameters as inputs, Greek ones too."""
    angle, step = Parameter("θ"), Parameter("k")
    circuit = QuantumCircuit(2)
    circuit.rx(2 * angle + 0.5, 0)
    with circuit.for_loop(range(1, 3), step):
        circuit.rz(step, 1)
    form = parse(qasm3.dumps(circuit))
    assert form.symbols == ("θ",)
    assert [op.parameters for op in form.bind({"θ": 0.25}).operations] == [(1.0,), (1.0,), (2.0,)]
