"""Resets and syndrome extraction with noise against density matrices of their explicit circuits."""

from __future__ import annotations

from functools import cache
from itertools import product
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.quantum_info import DensityMatrix, Operator, Pauli

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.words import SYNDROME_CODES
from qmesh_node.domain.checks import check_rates
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.syndrome import CODES, X, decoder
from qmesh_node.domain.tableau import Part, Tableau

SHOTS = 40_000
LETTERS = "IXYZ"
FIDELITY = {"cx": 0.93, "h": 0.95, "x": 0.9, "y": 0.9, "z": 0.9}
READ = 0.06
Rho = NDArray[np.complex128]


@cache
def _pauli(label: str) -> Rho:
    return np.asarray(Pauli(label).to_matrix())


def _conjugated(rho: Rho, label: str) -> Rho:
    matrix = _pauli(label)
    return np.asarray(matrix @ rho @ matrix.conj().T)


def _on(size: int, letters: dict[int, str]) -> str:
    return "".join(letters.get(q, "I") for q in reversed(range(size)))


def _gate(rho: Rho, name: str, qubits: list[int], size: int) -> Rho:
    """A gate and its depolarising channel: with probability 1 - F_pro one of the other Paulis."""
    matrix = {
        "cx": Operator.from_label("II").data[[0, 3, 2, 1]],
        "h": Operator.from_label("H").data,
        **{letter.lower(): Operator.from_label(letter).data for letter in "XYZ"},
    }[name]
    rho = DensityMatrix(rho).evolve(Operator(matrix), qubits).data
    d = 2 ** len(qubits)
    error = 1 - ((d + 1) * FIDELITY[name] - 1) / d
    others = [p for p in product(LETTERS, repeat=len(qubits)) if any(letter != "I" for letter in p)]
    spoilt = sum(_conjugated(rho, _on(size, dict(zip(qubits, p, strict=True)))) for p in others)
    return np.asarray((1 - error) * rho + error / len(others) * spoilt)


def _projected(rho: Rho, qubit: int, value: int, size: int) -> Rho:
    z = _pauli(_on(size, {qubit: "Z"}))
    half = (np.eye(2**size) + (1 - 2 * value) * z) / 2
    return np.asarray(half @ rho @ half)


def _check(rho: Rho, support: list[int], *, is_x: bool, size: int) -> list[Rho]:
    """Reset, couplings and reading of an ancilla, qubit `size`; the data by the bit that was read."""
    wide: Rho = np.kron(np.diag([1.0 - READ, READ]), rho).astype(np.complex128)
    ancilla = size
    if is_x:
        wide = _gate(wide, "h", [ancilla], size + 1)
    for operand in support:
        wide = _gate(wide, "cx", [ancilla, operand] if is_x else [operand, ancilla], size + 1)
    if is_x:
        wide = _gate(wide, "h", [ancilla], size + 1)
    true = [
        np.einsum("aiaj->ij", _projected(wide, ancilla, value, size + 1).reshape((2, 2**size) * 2))
        for value in (0, 1)
    ]
    return [(1 - READ) * true[0] + READ * true[1], (1 - READ) * true[1] + READ * true[0]]


def _extracted(rho: Rho, size: int) -> dict[int, Rho]:
    """Syndrome extraction with noise: what it leaves of a state for each syndrome, not normalised."""
    code, table = CODES[size], decoder(size)
    branches = {0: rho}
    for number, pauli in enumerate(code.stabilizers):
        support = [place for place, letter in enumerate(pauli) if letter]
        after = {}
        for syndrome, state in branches.items():
            for bit, part in enumerate(_check(state, support, is_x=pauli[support[0]] == X, size=size)):
                after[syndrome | bit << number] = part
        branches = after
    if not code.corrects:
        return branches
    return {syndrome: _corrected(state, table[syndrome]) for syndrome, state in branches.items()}


def _corrected(rho: Rho, letters: tuple[int, ...]) -> Rho:
    for place, letter in enumerate(letters):
        if letter:
            rho = _gate(rho, LETTERS[letter].lower(), [place], len(letters))
    return rho


def _mixed(part: Ensemble, shots: NDArray[np.bool_]) -> Rho:
    """Mixture of the states of some shots; its trace is their fraction."""
    weights = np.bincount(part.row_of_shot[shots], minlength=part.rows) / len(part.row_of_shot)
    made: Rho = np.einsum("r,ri,rj->ij", weights, part.states, part.states.conj(), optimize=True)
    return made


def _ensemble(part: Part) -> Ensemble:
    return expanded(part, np.complex128) if isinstance(part, Tableau) else part


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("stabilizer", [False, True])
def test_noisy_syndromes_are_those_of_an_explicit_ancilla(
    lab: ModuleType, size: int, *, stabilizer: bool
) -> None:
    """Every Pauli expectation of the data, by syndrome, is that of the circuit with its ancilla, after two rounds."""
    prepare = "s q[0]; sx q[0]; cz q[0], q[1]; sx q[2]; " if stabilizer else "ry(0.7) q[0]; ry(1.9) q[2]; "
    operands = ", ".join(f"q[{q}]" for q in range(size))
    body = f"{prepare} cz q[1], q[2]; syndrome_extraction {operands}; syndrome_extraction {operands} -> c;"
    circuit = lab.parsed(body, size, 2)
    profile = gate.NoiseProfile(gate_fidelity=FIDELITY, readout_error=READ)
    run = lab.run_cuts(
        circuit, lab.cut(circuit, None), Draws(21, 0, SHOTS), profile=profile, stabilizer=stabilizer
    )
    parts = [_ensemble(part) for part in run.last()]
    assert len(parts) == 1
    rho = DensityMatrix.from_label("0" * size)
    for operation in circuit.operations:
        if operation.kind.name == "GATE":
            unitary, _ = lab.qiskit_gate(operation.name, tuple(operation.parameters))
            rho = rho.evolve(unitary, list(operation.qubits))
    middle = sum(_extracted(rho.data, size).values(), np.zeros((2**size,) * 2, dtype=np.complex128))
    syndromes = run.columns[0] + 2 * run.columns[1].astype(np.int64)
    order = [parts[0].position(q) for q in range(size)]
    for syndrome, state in _extracted(middle, size).items():
        made = _mixed(parts[0], syndromes == syndrome)
        error = np.sqrt(
            np.trace(state).real / SHOTS
        )  # at most: an expectation has a variance of at most its weight
        for letters in product(LETTERS, repeat=size):
            exact = np.trace(_pauli(_on(size, dict(enumerate(letters)))) @ state).real
            here = _pauli(_on(size, dict(zip(order, letters, strict=True))))
            assert abs(np.trace(here @ made).real - exact) < 4.5 * error, (syndrome, letters)


@pytest.mark.parametrize("stabilizer", [False, True])
def test_a_reset_leaves_one_as_often_as_a_bit_is_read_wrong(lab: ModuleType, *, stabilizer: bool) -> None:
    """Half of a Bell pair that is reset: |0> with 1 - e, |1> with e; the other half is as it was (density matrix)."""
    circuit = lab.parsed("bell_pair q[0], q[1]; reset q[0];", 2)
    run = lab.run_cuts(
        circuit,
        lab.cut(circuit, None),
        Draws(8, 0, SHOTS),
        profile=gate.NoiseProfile(readout_error=READ),
        stabilizer=stabilizer,
    )
    (part,) = run.last()
    ensemble = _ensemble(part)
    made = _mixed(ensemble, np.ones(SHOTS, dtype=np.bool_))
    bell = DensityMatrix(Operator.from_label("II").data[:, 0]).evolve(
        lab.qiskit_gate("bell_pair", ())[0], [0, 1]
    )
    exact = np.zeros((4, 4), dtype=np.complex128)
    for value, weight in ((0, 1 - READ), (1, READ)):
        for before in (0, 1):
            after = _projected(bell.data, 0, before, 2)
            exact += weight * (after if before == value else _conjugated(after, "IX"))
    order = [ensemble.position(q) for q in (0, 1)]
    for letters in product(LETTERS, repeat=2):
        here = _pauli(_on(2, {order[0]: letters[0], order[1]: letters[1]}))
        expected = np.trace(_pauli(letters[1] + letters[0]) @ exact).real
        assert abs(np.trace(here @ made).real - expected) < 3.5 * np.sqrt(1 / SHOTS), letters
    (tally,) = [t for t in run.executions[0].fragments if t.measured]
    assert abs(tally.estimate()[1] - (1 - READ)) < 3 * np.sqrt(READ * (1 - READ) / SHOTS)


def test_a_conditioned_reset_errs_only_where_it_happens(lab: ModuleType) -> None:
    """A reset that always errs leaves |1>, in the shots of its condition."""
    circuit = lab.parsed("h q[0]; c[0] = measure q[0]; if (c[0]) { reset q[1]; } c[1] = measure q[1];", 2, 2)
    run = lab.run_cuts(
        circuit, lab.cut(circuit, None), Draws(8, 0, 1000), profile=gate.NoiseProfile(readout_error=1.0)
    )
    assert (run.columns[1] == ~run.columns[0]).all()  # the last read is flipped, too


@pytest.mark.parametrize("size", [3, 4, 7, 9])
def test_the_fragment_of_an_extraction_shows_the_shots_without_a_drawn_error(
    lab: ModuleType, size: int
) -> None:
    """Their fraction is the product over the gates, resets and reads that the word's table counts."""
    operands = ", ".join(f"q[{q}]" for q in range(size))
    circuit = lab.parsed(f"syndrome_extraction {operands};", size)
    profile = gate.NoiseProfile(service_fidelity={"cnot": 0.99, "hadamard": 0.98}, readout_error=0.01)
    run = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(4, 0, SHOTS), profile=profile)
    (tally,) = run.executions[0].fragments
    code, rates = SYNDROME_CODES[size], check_rates(profile)
    expected = (1 - rates.cx) ** code.num_cx * (1 - rates.h) ** code.num_h * 0.99 ** (2 * code.num_bits)
    assert abs(tally.estimate()[1] - expected) < 3 * np.sqrt(expected * (1 - expected) / SHOTS)
    assert code.num_cx == sum(sum(letter > 0 for letter in check) for check in CODES[size].stabilizers)
    assert code.num_h == 2 * sum(X in check for check in CODES[size].stabilizers)


def test_gates_without_a_figure_have_that_of_the_word() -> None:
    """A node that offers the word alone runs its gates at the word's figure; figures of gates win."""
    word = check_rates(gate.NoiseProfile(service_fidelity={"syndrome_extraction": 0.9}))
    assert word.cx == pytest.approx(1 - (5 * 0.9 - 1) / 4)
    assert word.h == word.correction[1] == pytest.approx(1 - (3 * 0.9 - 1) / 2)
    own = check_rates(
        gate.NoiseProfile(
            service_fidelity={"syndrome_extraction": 0.9, "cnot": 0.99, "programmable_gate": 1.0},
            gate_fidelity={"h": 1.0},
            readout_error=0.02,
        )
    )
    assert own.cx == pytest.approx(1 - (5 * 0.99 - 1) / 4)
    assert (own.h, own.read, own.correction) == (0.0, 0.02, (0.0, 0.0, 0.0, 0.0))
