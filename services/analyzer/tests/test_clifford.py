"""Clifford circuits by generators: every field is what amplitudes give, and widths that amplitudes cannot have."""

from __future__ import annotations

import random
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import Clifford, Statevector, random_clifford

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_analyzer.domain.report import Report
from qmesh_analyzer.domain.tableaux import tableau_of

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
_ONE = ("h", "s", "sdg", "x", "y", "z", "sx", "rz(pi/2)", "U(pi/2, pi/2, -pi/2)")
_TWO = ("cx", "cy", "cz", "swap", "bell_pair", "teleport")


def _text(seed: int, n: int, *, dynamic: bool) -> str:
    rng = random.Random(seed)
    lines = [HEAD + f"qubit[{n}] q;\nbit[{n}] c;\nbit[2] d;"]
    for _ in range(6 * n):
        a, b, c = rng.sample(range(n), 3)
        choices = [f"{rng.choice(_ONE)} q[{a}];", f"{rng.choice(_TWO)} q[{a}], q[{b}];"]
        if dynamic:
            choices += [
                f"c[{a}] = measure q[{b}];",
                f"if (c[{a}]) {{ {rng.choice('xyz')} q[{c}]; }}",
                f"if (!c[{b}]) {{ x q[{c}]; }}",
                f"if (d != 1) {{ z q[{a}]; }}",
                f"reset q[{a}];",
                f"d[0] = measure q[{c}];",
            ]
        lines.append(rng.choice(choices))
    return "\n".join([*lines, "c = measure q;"])


def _both(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, made: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents of one request by amplitudes and by generators."""
    dense = Report(made.header, made.blobs).build()
    monkeypatch.setattr(Report, "_by_generators", lambda _self: True)
    return dense, Report(made.header, made.blobs).build()


def _close(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            _close(value, other[name])
    elif isinstance(one, list):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-12)
    else:
        assert one == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_generators_give_what_amplitudes_give(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, seed: int, dynamic: bool
) -> None:
    """Averages over outcomes, distributions, entropies and the support of the state agree to 1e-12."""
    made = lab.request(_text(seed, 5, dynamic=dynamic), counts={"00 00000": 3, "00 10100": 1})
    made.header.observables.append(
        circuit.Observable(
            name="o",
            terms=[
                circuit.PauliTerm(paulis=p, coefficient=k + 0.5)
                for k, p in enumerate(("XXYZI", "ZZIII", "IYYXX"))
            ],
        )
    )
    dense, generators = _both(lab, monkeypatch, made)
    assert (dense["ideal_method"], generators["ideal_method"]) != (generators["ideal_method"],) * 2
    for name in (
        "observable_expectations", "reduced_density_matrices", "bloch_vectors", "measured_probabilities",
        "distribution_fidelity",
    ):  # fmt: skip
        _close(dense[name], generators[name])
    if dynamic:
        assert generators["reasons"]["statevector"] == dense["reasons"]["statevector"]
        return
    _close(dense["entanglement_entropy"], generators["entanglement_entropy"])
    ours, theirs = generators["top_basis_states"], dense["top_basis_states"]
    assert [s["basis"] for s in ours] == [s["basis"] for s in theirs]
    one, other = (np.array([complex(*s["amplitude"]) for s in states]) for states in (ours, theirs))
    np.testing.assert_allclose(one * (other[0] / one[0]), other, atol=1e-12)


def _bytes_of(
    clifford: Clifford, flips: np.ndarray, row_of_shot: list[int]
) -> tuple[state.ComponentRef, bytes, int]:
    """A component as a node would send it, made of Qiskit's tableau."""
    n = clifford.num_qubits
    parts = [clifford.x.T.ravel(), clifford.z.T.ravel(), clifford.phase[n:], flips.ravel()]
    rows = np.packbits(np.concatenate(parts), bitorder="little").tobytes()
    data = rows + np.asarray(row_of_shot, dtype="<u4").tobytes()
    ref = state.ComponentRef(
        wires=range(n), executor=state.EXECUTOR_KIND_STABILIZER, shots=state.ShotRange(count=len(row_of_shot)),
        rows=len(flips), bytes=len(data),
    )  # fmt: skip
    return ref, data, len(rows)


@pytest.mark.parametrize("seed", range(6))
def test_a_tableau_is_its_state(seed: int) -> None:
    """Amplitudes of a random tableau are those of Qiskit's circuit for it, up to a phase."""
    clifford = random_clifford(4, seed=seed)
    ref, data, rows_bytes = _bytes_of(clifford, np.zeros((1, 4), dtype=np.bool_), [0])
    (amplitudes,) = tableau_of(ref, (0, 1, 2, 3), data, rows_bytes).amplitudes()
    assert abs(np.vdot(amplitudes, Statevector(clifford.to_circuit()).data)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_executed_generators_are_compared_as_amplitudes_are(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Fidelity with its error, and the executed fields, for a state that is only sometimes the ideal one."""
    rng = np.random.default_rng(seed)
    text = _text(seed, 4, dynamic=False)
    clifford = random_clifford(4, seed=seed) if seed % 2 else _ideal(lab, text)
    flips = rng.random((3, 4)) < 0.3
    made = lab.request(text, shots=8, counts={})
    ref, data, rows_bytes = _bytes_of(clifford, flips, rng.integers(0, 3, 8).tolist())
    made.header.rows.append(ref)
    made.blobs.append((data, rows_bytes))
    made.header.observables.append(
        circuit.Observable(name="o", terms=[circuit.PauliTerm(paulis="XYIZ", coefficient=2.0)])
    )
    dense, generators = _both(lab, monkeypatch, made)
    assert (dense["method"], generators["method"]) == ("rows", "stabilizer")
    _close(dense["fidelity"]["fidelity_to_target_state"], generators["fidelity"]["fidelity_to_target_state"])
    _close(dense["fidelity"]["stderr"], generators["fidelity"]["stderr"])
    for name in ("observable_expectations", "reduced_density_matrices", "bloch_vectors"):
        _close(dense["executed"][name], generators["executed"][name])


def _ideal(lab: ModuleType, text: str) -> Clifford:
    from qmesh_model.parser import parse

    form = parse(text)
    quantum = QuantumCircuit(form.num_qubits)
    for operation in form.operations:
        part = lab.unitary_part(operation)
        if part is not None:
            quantum.compose(part, list(operation.qubits), inplace=True)
    return Clifford.from_circuit(quantum)


def _measured_first(lab: ModuleType, column: int, signs: list[bool]) -> dict[str, Any]:
    """A Bell pair read at one end: what was executed has Z on both qubits."""
    text = (
        HEAD
        + "qubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc[0] = measure q[0];\nx q[0];\nx q[0];\nc[1] = measure q[1];"
    )
    made = lab.request(text, shots=4, counts={})
    quantum = QuantumCircuit(2)
    ref, data, rows_bytes = _bytes_of(Clifford(quantum), np.array([signs]), [0] * 4)
    made.header.rows.append(ref)
    made.blobs.append((data, rows_bytes))
    made.header.columns[0] = bytes([column])
    document: dict[str, Any] = Report(made.header, made.blobs).build()
    return document


def test_conditional_fidelity_is_that_of_the_recorded_history(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executed state is compared with what the recorded outcomes leave of the ideal."""
    monkeypatch.setattr(Report, "_by_generators", lambda _self: True)
    assert _measured_first(lab, 0b1111, [True, True])["conditional_fidelity"]["value"] == 1
    assert _measured_first(lab, 0b0011, [True, True])["conditional_fidelity"]["value"] == 0.5
    assert _measured_first(lab, 0b0000, [True, False])["conditional_fidelity"]["value"] == 0


def test_a_hundred_qubits_and_four_hundred(lab: ModuleType) -> None:
    """GHZ-100 is described whole; at 400 qubits pairs are left out with their reason, and 401 are too many."""
    for n in (100, 400):
        gates = "h q[0];" + "".join(f"cx q[{i}], q[{i + 1}];" for i in range(n - 1))
        made = lab.request(
            HEAD + f"qubit[{n}] q;\nbit[{n}] c;\n{gates}\nc = measure q;", counts={"0" * n: 3, "1" * n: 1}
        )
        begun = time.process_time()
        document = Report(made.header, []).build()
        assert time.process_time() - begun < 20
        assert document["measured_probabilities"] == {"0" * n: 0.5, "1" * n: 0.5}
        assert document["entanglement_entropy"]["q7|rest"] == 1.0
        assert len(document["top_basis_states"]) == 2
        assert document["distribution_fidelity"]["hellinger"] == pytest.approx(
            (np.sqrt(3 / 8) + np.sqrt(1 / 8)) ** 2
        )
        assert document["stabilizer_generators"][0].count("I") + document["stabilizer_generators"][0].count(
            "X"
        ) in {n, 1}
        if n == 100:
            assert document["observable_expectations"]["ZZ_q3_q99"] == 1.0
            assert document["observable_expectations"]["XX_q3_q99"] == 0.0
        else:
            assert document["reasons"]["observable_expectations.pairs"].startswith("TOO_MANY_PAIRS")
    made = lab.request(HEAD + "qubit[401] q;\nbit[1] c;\nh q[400];\nc[0] = measure q[400];")
    assert Report(made.header, []).build()["reasons"]["statevector"].startswith("TOO_MANY_QUBITS")


def test_what_is_not_clifford_keeps_its_reason(lab: ModuleType) -> None:
    """One T gate, or a condition that is no sum of outcomes, on 30 qubits: null, with the dense limit as the reason."""
    for line in ("t q[0];", "c[0] = measure q[0]; c[1] = measure q[1]; if (c[0] && c[1]) { x q[2]; }"):
        body = "h q[0];\nh q[1];\n" + line + "\nc = measure q;"
        made = lab.request(HEAD + f"qubit[30] q;\nbit[30] c;\n{body}")
        assert Report(made.header, []).build()["reasons"]["bloch_vectors"].startswith("TOO_MANY_QUBITS")


def test_rows_that_are_no_stabilizer_state_are_malformed(lab: ModuleType) -> None:
    """A changed generator or a row that is not there: the executed fields are null with the reason, the ideal stays."""
    gates = "h q[0];" + "".join(f"cx q[{i}], q[{i + 1}];" for i in range(13))
    text = HEAD + f"qubit[14] q;\nbit[14] c;\n{gates}\nc = measure q;"
    ref, data, rows_bytes = _bytes_of(Clifford(QuantumCircuit(14)), np.zeros((1, 14), dtype=np.bool_), [0, 0])
    broken = bytes([data[0] ^ 1]) + data[1:]
    for bad in (broken, data[:-1], data[:-4] + b"\x01\x00\x00\x00"):
        made = lab.request(text, shots=2)
        made.header.rows.append(ref)
        made.blobs.append((bad, rows_bytes))
        document = Report(made.header, made.blobs).build()
        assert document["reasons"]["executed"].startswith("ROWS_MALFORMED")
        assert document["entanglement_entropy"]["q3|rest"] == 1.0
