"""The ideal fields against Qiskit's own states."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Pauli, SparsePauliOp, Statevector, entropy, partial_trace

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain import ideal as ideals
from qmesh_analyzer.domain.gates import unitary
from qmesh_analyzer.domain.ideal import ideal_of
from qmesh_analyzer.domain.report import NO_PURE_STATE, Report
from qmesh_model.gates import GATES, matrix
from qmesh_model.parser import parse

EXAMPLES = Path(__file__).parents[3] / "examples"

PURE = sorted(
    {path.stem for path in EXAMPLES.glob("*.qasm")}
    - {"teleport", "ghz_feedforward", "phase_estimation", "repeat_until_success", "grover_teleported"}
)


def _label(n: int, letters: dict[int, str]) -> str:
    return "".join(letters.get(q, "I") for q in reversed(range(n)))


def _check_fields(document: dict[str, Any], rho: DensityMatrix | Statevector) -> None:
    """Compares every averaged field of a document with Qiskit's numbers for a state."""
    n = rho.num_qubits
    for basis, p in document["probabilities"].items():
        assert p == pytest.approx(rho.probabilities()[int(basis, 2)], abs=1e-12)
    assert sum(document["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    values = document["observable_expectations"]
    for a in range(n):
        assert values[f"Z_q{a}"] == pytest.approx(rho.expectation_value(Pauli("Z"), [a]).real, abs=1e-12)
        reduced = partial_trace(rho, [q for q in range(n) if q != a])
        given = np.array(document["reduced_density_matrices"][f"q{a}"])
        np.testing.assert_allclose(given[..., 0] + 1j * given[..., 1], reduced.data, atol=1e-12)
        expected = [reduced.expectation_value(Pauli(letter)).real for letter in "XYZ"]
        np.testing.assert_allclose(document["bloch_vectors"][f"q{a}"], expected, atol=1e-12)
        for b in range(a + 1, n):
            for letter in "ZX":
                expected = rho.expectation_value(Pauli(letter * 2), [a, b]).real
                assert values[f"{letter * 2}_q{a}_q{b}"] == pytest.approx(expected, abs=1e-12)


def _statevector(lab: ModuleType, text: str) -> Statevector:
    form = parse(text)
    quantum = QuantumCircuit(form.num_qubits)
    for operation in form.operations:
        unitary_part = lab.unitary_part(operation)
        if unitary_part is not None:
            quantum.compose(unitary_part, list(operation.qubits), inplace=True)
    return Statevector(quantum)


def test_seed_example_is_as_the_seed_says(lab: ModuleType) -> None:
    """The seed's circuit has 00 and 10 at 0.5 each, Z_q0 = 1, the Bloch vector (1, 0, 0) on q1, and always reads 0."""
    document = Report(lab.request(lab.example("seed")).header, []).build()
    assert document["probabilities"] == pytest.approx({"00": 0.5, "10": 0.5})
    assert document["observable_expectations"]["Z_q0"] == pytest.approx(1)
    assert document["bloch_vectors"]["q1"] == pytest.approx([1, 0, 0])
    assert document["bloch_vectors"]["q0"] == pytest.approx([0, 0, 1])
    assert document["measured_probabilities"] == pytest.approx({"0": 1})
    assert document["measured_qubits"] == [0]
    assert document["entanglement_entropy"] == pytest.approx({"q0|rest": 0, "q1|rest": 0}, abs=1e-9)


@pytest.mark.parametrize("name", PURE)
def test_examples_agree_with_statevector(lab: ModuleType, name: str) -> None:
    """Every field of every example without collapses is what Qiskit's `Statevector` gives."""
    text = lab.example(name)
    document = Report(lab.request(text).header, []).build()
    expected = _statevector(lab, text)
    given = np.array(document["statevector"])
    np.testing.assert_allclose(given[:, 0] + 1j * given[:, 1], expected.data, atol=1e-12)
    _check_fields(document, expected)
    for q in range(expected.num_qubits):
        reduced = partial_trace(expected, [p for p in range(expected.num_qubits) if p != q])
        assert document["entanglement_entropy"][f"q{q}|rest"] == pytest.approx(entropy(reduced), abs=1e-9)
    best = document["top_basis_states"][0]
    assert best["probability"] == pytest.approx(expected.probabilities().max(), abs=1e-12)
    assert complex(*best["amplitude"]) == pytest.approx(expected.data[int(best["basis"], 2)], abs=1e-12)


@pytest.mark.parametrize("seed", [None, *range(40)])
def test_dynamic_circuits_agree_with_density_matrices(lab: ModuleType, seed: int | None) -> None:
    """With collapses and conditions the averaged fields and the outcome distribution are those of `DensityMatrix`."""
    text = lab.example("teleport") if seed is None else lab.random_circuit(seed)
    expected = lab.oracle(text)
    document = Report(lab.request(text).header, []).build()
    _check_fields(document, expected.rho)
    distribution = expected.distribution()
    assert {k: v for k, v in document["measured_probabilities"].items() if v > 1e-12} == pytest.approx(
        distribution
    )
    form = parse(text)
    if any((op.collapses and not op.terminal) or op.condition for op in form.operations):
        for name in ("statevector", "entanglement_entropy", "top_basis_states"):
            assert document[name] is None
            assert document["reasons"][name] == NO_PURE_STATE
        assert document["reasons"]["fidelity_to_target_state"]


@pytest.mark.parametrize("seed", range(100, 110))
def test_random_pure_circuits_agree_with_statevector(lab: ModuleType, seed: int | None) -> None:
    """Seeded circuits without collapses give Qiskit's state, phases included."""
    text = lab.random_circuit(seed, dynamic=False)
    state = ideal_of(lab.request(text).header.circuit).pure
    assert state is not None
    np.testing.assert_allclose(state[0], _statevector(lab, text).data, atol=1e-12)


def test_aer_gives_the_same_states_as_the_kernels(lab: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path for wide circuits by Aer and the kernels agree, global phase included."""
    form = lab.request(lab.random_circuit(7, dynamic=False)).header.circuit
    form.global_phase.value = 0.7
    narrow = ideal_of(form).states
    monkeypatch.setattr(ideals, "AER_FROM", 1)
    np.testing.assert_allclose(ideal_of(form).states, narrow, atol=1e-12)


def test_qiskits_definitions_cover_the_catalogue() -> None:
    """Every gate that the parser can emit has an independent definition here, and the two agree."""
    angles = (0.739, 1.202, 0.567, 1.618)
    for name, gate in GATES.items():
        parameters = angles[: gate.num_params]
        np.testing.assert_allclose(
            unitary(name, parameters), matrix(name, parameters), atol=1e-12, err_msg=name
        )


def test_observables_agree_with_sparse_pauli_op(lab: ModuleType) -> None:
    """Weighted sums of Pauli strings are what `SparsePauliOp` gives, few or many strings alike."""
    text = lab.random_circuit(3)
    rho = lab.oracle(text).rho
    n = rho.num_qubits
    letters = ["".join(np.random.default_rng(5).choice(list("IXYZ"), n)) for _ in range(4)]
    many = [f"{index:0{n}b}".replace("0", "Z").replace("1", "Y") for index in range(1 << n)] + [
        "Z" * n,
        "I" * n,
    ]
    for strings in (letters, many):
        terms = [circuit.PauliTerm(paulis=s, coefficient=0.5 + k) for k, s in enumerate(strings)]
        wanted = lab.request(text, observables=[circuit.Observable(name="mine", terms=terms)])
        document = Report(wanted.header, []).build()
        expected = rho.expectation_value(SparsePauliOp(strings, [0.5 + k for k in range(len(strings))])).real
        assert document["observable_expectations"]["mine"] == pytest.approx(expected, abs=1e-10)


def test_bad_observable_is_null_alone(lab: ModuleType) -> None:
    """An observable over other qubits is null with its reason, and everything else is there."""
    bad = circuit.Observable(name="bad", terms=[circuit.PauliTerm(paulis="ZZZZ", coefficient=1)])
    report = Report(lab.request(lab.example("seed"), observables=[bad]).header, [])
    document = report.build()
    assert document["observable_expectations"]["bad"] is None
    assert report.code == "OBSERVABLE_INVALID"
    assert document["statevector"] is not None


def test_too_many_histories_are_null_with_a_reason(lab: ModuleType) -> None:
    """A circuit with 2^13 histories has no ideal fields but a reason for each."""
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', "qubit q;", "bit[13] c;"]
    for k in range(13):
        lines += ["h q;", f"c[{k}] = measure q;", "x q;"]
    document = Report(lab.request("\n".join(lines)).header, []).build()
    assert document["probabilities"] is None
    assert document["reasons"]["probabilities"].startswith("TOO_MANY_HISTORIES")


def test_resets_of_unentangled_qubits_make_no_histories(lab: ModuleType) -> None:
    """Thirteen resets of |+> stay one branch, because both outcomes leave the same state."""
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', "qubit q;"] + ["h q;", "reset q;"] * 13
    assert len(ideal_of(lab.request("\n".join(lines)).header.circuit).weights) == 1


def test_wide_circuits_have_no_states_of_their_own(lab: ModuleType) -> None:
    """Above the dense limit every ideal field is null and says why, and the request does not fail."""
    document = Report(
        lab.request('OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[40] q;\nt q[0];').header, []
    ).build()
    assert document["reasons"]["bloch_vectors"].startswith("TOO_MANY_QUBITS")
