"""What monolithic Qiskit says of the examples: exact distributions of the measured bits, written without qmesh's parser."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import qiskit.qasm2
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.library import QFTGate
from qiskit.quantum_info import Statevector
from scipy.stats import chisquare

_EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def seed() -> QuantumCircuit:
    """The seed's circuit: its service words as the plain gates that they mean without noise."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "c"))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(0, 1)
    circuit.cz(0, 1)
    circuit.swap(0, 1)
    circuit.measure(0, 0)
    return circuit


def ghz8() -> QuantumCircuit:
    """GHZ-8."""
    circuit = QuantumCircuit(QuantumRegister(8, "q"), ClassicalRegister(8, "c"))
    circuit.h(0)
    for qubit in range(7):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(8), range(8))
    return circuit


def qft6() -> QuantumCircuit:
    """QFT-6 of the basis state 13, and its inverse."""
    circuit = QuantumCircuit(QuantumRegister(6, "q"), ClassicalRegister(6, "c"))
    circuit.x([0, 2, 3])
    circuit.append(QFTGate(6), range(6))
    circuit.append(QFTGate(6).inverse(), range(6))
    circuit.measure(range(6), range(6))
    return circuit


def teleport() -> QuantumCircuit:
    """Teleportation, its corrections deferred to controlled gates (the same distribution of all three bits)."""
    circuit = QuantumCircuit(QuantumRegister(3, "q"), *(ClassicalRegister(1, n) for n in ("m0", "m1", "out")))
    circuit.ry(0.8, 0)
    circuit.rz(0.3, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.cx(1, 2)
    circuit.cz(0, 2)
    circuit.rz(-0.3, 2)
    circuit.measure(range(3), range(3))
    return circuit


def bv8() -> QuantumCircuit:
    """Bernstein-Vazirani, as Qiskit's own importer reads the file."""
    return qiskit.qasm2.loads((_EXAMPLES / "bv8.qasm").read_text())


def clifford_t12() -> QuantumCircuit:
    """The random circuit, its lines turned into OpenQASM 2 for Qiskit's own importer."""
    text = (_EXAMPLES / "clifford_t12.qasm").read_text()
    for new, old in (
        ("OPENQASM 3.0;", "OPENQASM 2.0;"),
        ("stdgates.inc", "qelib1.inc"),
        ("qubit[12] q;", "qreg q[12];"),
        ("bit[12] c;", "creg c[12];"),
        ("c = measure q;", "measure q -> c;"),
    ):
        assert new in text
        text = text.replace(new, old)
    return qiskit.qasm2.loads(text)


def ghz_feedforward() -> QuantumCircuit:
    """GHZ-5 by parities of neighbours, the corrections as controlled gates."""
    circuit = QuantumCircuit(QuantumRegister(9, "q"), ClassicalRegister(4, "m"), ClassicalRegister(5, "c"))
    circuit.h(range(5))
    for i in range(4):
        circuit.cx(i, 5 + i)
        circuit.cx(i + 1, 5 + i)
    for i in range(4):
        for j in range(i + 1, 5):
            circuit.cx(5 + i, j)
    circuit.measure([5, 6, 7, 8, 0, 1, 2, 3, 4], range(9))
    return circuit


def repeat_until_success() -> QuantumCircuit:
    """Three attempts with an ancilla each, every one controlled by the failure of the one before."""
    circuit = QuantumCircuit(
        QuantumRegister(4, "q"), ClassicalRegister(3, "failed"), ClassicalRegister(1, "out")
    )
    angle = 2 * np.arctan(np.sqrt(0.5))
    circuit.h(0)
    circuit.ry(angle, 1)
    circuit.cz(1, 0)
    circuit.s(1)
    circuit.ry(-angle, 1)
    for before, ancilla in ((1, 2), (2, 3)):
        circuit.cp(-np.pi / 2, before, 0)
        circuit.cry(angle, before, ancilla)
        circuit.ccz(before, ancilla, 0)
        circuit.cp(np.pi / 2, before, ancilla)
        circuit.cry(-angle, before, ancilla)
    circuit.cp(-np.pi / 2, 3, 0)
    circuit.rz(2 * np.arctan(0.5), 0)
    circuit.h(0)
    circuit.measure([1, 2, 3, 0], range(4))
    return circuit


def phase_estimation() -> QuantumCircuit:
    """The phase 13/16 with an ancilla for each bit, by the inverse Fourier transform."""
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(4, "c"))
    circuit.x(4)
    circuit.h(range(4))
    for k in range(4):
        circuit.cp(2 * np.pi * 13 / 16 * 2**k, k, 4)
    circuit.append(QFTGate(4).inverse(), range(4))
    circuit.measure(range(4), range(4))
    return circuit


def grover2() -> QuantumCircuit:
    """Grover's search, as the file says it."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(2, "c"))
    circuit.h([0, 1])
    circuit.cz(0, 1)
    circuit.h([0, 1])
    circuit.x([0, 1])
    circuit.cz(0, 1)
    circuit.x([0, 1])
    circuit.h([0, 1])
    circuit.measure([0, 1], [0, 1])
    return circuit


def grover_teleported() -> QuantumCircuit:
    """The same search with each CZ over a pair of its own, the corrections deferred to controlled gates."""
    circuit = QuantumCircuit(QuantumRegister(6, "q"), ClassicalRegister(4, "m"), ClassicalRegister(2, "c"))
    circuit.h([0, 1])
    for a, b in ((2, 3), (4, 5)):
        circuit.h(a)
        circuit.cx(a, b)
        circuit.cx(0, a)
        circuit.cx(a, b)
        circuit.cz(b, 1)
        circuit.h(b)
        circuit.cz(b, 0)
        turn = (circuit.h, circuit.x) if b == 3 else (circuit.x, circuit.h)
        for gate in turn:
            gate([0, 1])
    circuit.measure([2, 3, 4, 5, 0, 1], range(6))
    return circuit


CIRCUITS = {
    "seed.qasm": seed,
    "ghz8.qasm": ghz8,
    "qft6.qasm": qft6,
    "bv8.qasm": bv8,
    "teleport.qasm": teleport,
    "clifford_t12.qasm": clifford_t12,
    "ghz_feedforward.qasm": ghz_feedforward,
    "repeat_until_success.qasm": repeat_until_success,
    "phase_estimation.qasm": phase_estimation,
    "grover2.qasm": grover2,
    "grover_teleported.qasm": grover_teleported,
}


@cache
def distribution(file: str) -> Mapping[str, float]:
    """Exact probabilities of the counts' keys, as Qiskit prints them."""
    return distribution_of(CIRCUITS[file]())


def distribution_of(circuit: QuantumCircuit) -> dict[str, float]:
    """Exact probabilities of a circuit whose measurements all stand at its end."""
    bits = {
        circuit.find_bit(i.clbits[0]).index: circuit.find_bit(i.qubits[0]).index
        for i in circuit.data
        if i.name == "measure"
    }
    state = Statevector(circuit.remove_final_measurements(inplace=False))
    marginal = state.probabilities([bits[index] for index in sorted(bits)])
    found = {}
    for value in np.flatnonzero(marginal > 1e-12):
        text, parts = format(value, f"0{len(bits)}b"), []
        for register in reversed(circuit.cregs):
            parts.append(text[: register.size])
            text = text[register.size :]
        found[" ".join(parts)] = float(marginal[value])
    return found


def fit(counts: Mapping[str, int], expected: Mapping[str, float]) -> float:
    """P value of a chi-square test; rare outcomes (fewer than 5 expected) are taken together. 0 for an impossible outcome."""
    if not set(counts) <= set(expected):
        return 0.0
    shots = sum(counts.values())
    pairs = sorted((probability * shots, counts.get(key, 0)) for key, probability in expected.items())
    wanted, seen, rare_wanted, rare_seen = [], [], 0.0, 0
    for mean, count in pairs:
        if mean < 5:
            rare_wanted, rare_seen = rare_wanted + mean, rare_seen + count
        else:
            wanted.append(mean)
            seen.append(count)
    if rare_wanted > 0:
        wanted.append(rare_wanted)
        seen.append(rare_seen)
    if len(wanted) == 1:
        return 1.0 if seen[0] == shots else 0.0
    scale = shots / sum(wanted)
    return float(chisquare(seen, [mean * scale for mean in wanted]).pvalue)
