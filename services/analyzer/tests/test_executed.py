"""Executed rows against the analyzer's own ideal."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import DensityMatrix, state_fidelity

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.executed import decode
from qmesh_analyzer.domain.ideal import ideal_of
from qmesh_analyzer.domain.report import NO_PURE_STATE, Report

MID = """OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[0];
cx q[0], q[1];
c[0] = measure q[0];
z q[0];
"""
RESET = """OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
ry(1.1) q[0];
cx q[0], q[1];
reset q[0];
"""


def _packed(bits: list[int]) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def test_seed_example_executed_perfectly_has_fidelity_one(seed_request: Any) -> None:
    """Two components, one of them in two slices, give fidelity 1 and the executed fields of the ideal."""
    report = Report(seed_request.header, seed_request.blobs)
    document = report.build()
    assert report.code == ""
    assert document["method"] == "rows"
    assert document["fidelity"]["fidelity_to_target_state"] == pytest.approx(1)
    assert document["fidelity"]["stderr"] == pytest.approx(0, abs=1e-12)
    assert document["conditional_fidelity"]["value"] == pytest.approx(1)
    assert document["distribution_fidelity"]["hellinger"] == pytest.approx(1)
    assert document["executed"]["bloch_vectors"]["q1"] == pytest.approx([1, 0, 0])
    assert document["executed"]["distinct_states"] == 2
    assert document["executed"]["observable_expectations"]["Z_q0"] == pytest.approx(1)


def test_every_field_of_the_surface_is_there(seed_request: Any) -> None:
    """The document has every field of the quantum result, none of them null for a small pure circuit with rows."""
    document = Report(seed_request.header, seed_request.blobs).build()
    for name in (
        *("counts", "shots", "measured_qubits", "probabilities", "measured_probabilities", "statevector"),
        *("observable_expectations", "reduced_density_matrices", "bloch_vectors", "entanglement_entropy"),
        *("fidelity", "top_basis_states", "executed", "conditional_fidelity", "distribution_fidelity"),
        *("predicted_fidelity", "method"),
    ):
        assert document[name] is not None, name
    assert document["reasons"] == {}


def test_fidelity_is_the_mean_over_shots_with_its_error(lab: ModuleType) -> None:
    """A quarter of the shots in an orthogonal state gives 0.75 and the standard error of that sample."""
    made = lab.request(lab.example("seed"), shots=8)
    made.with_rows([0], [[1, 0], [0, 1]], [0, 0, 0, 1, 0, 0, 0, 1]).with_rows([1], [0.5**0.5] * 2, [0] * 8)
    fidelity = Report(made.header, made.blobs).build()["fidelity"]
    assert fidelity["fidelity_to_target_state"] == pytest.approx(0.75)
    assert fidelity["stderr"] == pytest.approx(np.std([1] * 6 + [0] * 2, ddof=1) / 8**0.5)


def test_counts_that_were_left_out_are_a_reason(lab: ModuleType) -> None:
    """More different outcomes than the runtime sends: the distribution's fidelity is null, and says why."""
    made = lab.request(lab.example("seed"), shots=8)
    made.header.counts.clear()
    document = Report(made.header, made.blobs).build()
    assert document["distribution_fidelity"] is None
    assert document["measured_probabilities"] == {"0": pytest.approx(1)}
    assert document["reasons"]["distribution_fidelity"].startswith("TOO_MANY_COUNTS")


def test_errors_that_no_shot_drew_are_left_open(lab: ModuleType) -> None:
    """With noise on, shots without an error leave 1.5 of their number as the standard error; with noise off nothing is open."""
    shots = 1000
    for noise, expected in ((True, 1.5 / shots), (False, 0.0)):
        made = lab.request(lab.example("seed"), shots=shots)
        made.header.noise = noise
        made.with_rows([0], [[1, 0]], [0] * shots).with_rows([1], [0.5**0.5] * 2, [0] * shots)
        document = Report(made.header, made.blobs).build()
        assert document["fidelity"]["fidelity_to_target_state"] == pytest.approx(1)
        assert document["fidelity"]["stderr"] == pytest.approx(expected, abs=1e-12)
        assert document["conditional_fidelity"]["stderr"] == pytest.approx(expected, abs=1e-12)


def test_wires_are_brought_back_to_qubits(lab: ModuleType) -> None:
    """Rows over permuted wires, whose qubits ended elsewhere, are compared in the circuit's own order."""
    text = lab.random_circuit(11, dynamic=False)
    ideal = ideal_of(lab.request(text).header.circuit).states[0]
    n = ideal.size.bit_length() - 1
    order = np.random.default_rng(2).permutation(n)
    final = np.random.default_rng(3).permutation(n)
    tensor = ideal.reshape((2,) * n).transpose([n - 1 - q for q in reversed(order)])
    made = lab.request(text)
    del made.header.final_wires[:]
    made.header.final_wires.extend(int(wire) for wire in final)
    made.with_rows([int(final[q]) for q in order], np.ascontiguousarray(tensor).reshape(-1), [0] * 4)
    document = Report(made.header, made.blobs).build()
    assert document["fidelity"]["fidelity_to_target_state"] == pytest.approx(1)
    assert document["executed"]["bloch_vectors"]["q1"] == pytest.approx(document["bloch_vectors"]["q1"])


def test_executed_mixture_is_that_of_qiskit(lab: ModuleType) -> None:
    """Components that are correlated shot by shot give the density matrices of the mixture over shots."""
    made = lab.request("OPENQASM 3.0;\nqubit[2] q;\n", shots=4)
    made.with_rows([1], [[1, 0], [0, 1]], [0, 0, 1, 1]).with_rows([0], [[1, 0], [0.6, 0.8j]], [0, 1, 1, 1])
    executed = Report(made.header, made.blobs).build()["executed"]
    rows = {0: [1, 0], 1: [0.6, 0.8j]}
    pairs = ((0, 0), (0, 1), (1, 1), (1, 1))
    states = np.array([np.kron(np.eye(2)[a], np.array(rows[b])) for a, b in pairs])
    rho = np.einsum("si,sj->ij", states, states.conj()) / len(pairs)
    z0 = DensityMatrix(rho).probabilities([0])
    assert executed["observable_expectations"]["Z_q0"] == pytest.approx(z0[0] - z0[1])
    assert executed["observable_expectations"]["ZZ_q0_q1"] == pytest.approx(
        np.trace(rho @ np.diag([1, -1, -1, 1])).real
    )


def test_conditional_fidelity_follows_the_recorded_outcomes(lab: ModuleType) -> None:
    """Each shot is compared with the ideal of its own outcome, and an impossible history counts 0."""
    made = lab.request(MID, shots=4, columns={0: _packed([0, 1, 0, 1])})
    both = [[1, 0, 0, 0], [0, 0, 0, 1]]
    right = Report(made.header, made.with_rows([0, 1], both, [0, 1, 0, 1]).blobs).build()
    assert right["conditional_fidelity"]["value"] == pytest.approx(1)
    assert right["fidelity"]["fidelity_to_target_state"] is None
    assert right["reasons"]["fidelity_to_target_state"] == NO_PURE_STATE
    wrong = lab.request(MID, shots=4, columns={0: _packed([1, 1, 0, 0])}).with_rows(
        [0, 1], both, [0, 1, 0, 1]
    )
    assert Report(wrong.header, wrong.blobs).build()["conditional_fidelity"]["value"] == pytest.approx(0.5)
    never = MID + "reset q[1];\nc[1] = measure q[1];\nx q[1];\n"
    impossible = lab.request(never, shots=2, columns={0: _packed([0, 1]), 1: _packed([0, 1])})
    impossible.with_rows([0, 1], [[0, 0, 1, 0], [0, 0, 0, 1]], [0, 1])
    assert Report(impossible.header, impossible.blobs).build()["conditional_fidelity"][
        "value"
    ] == pytest.approx(0.5)


def test_unrecorded_outcomes_are_compared_as_mixtures(lab: ModuleType) -> None:
    """After the reset of an entangled qubit the conditional fidelity is Uhlmann's, as Qiskit has it."""
    share = 0.25
    made = lab.request(RESET, shots=4).with_rows([0, 1], [[1, 0, 0, 0], [0, 0, 1, 0]], [0, 0, 0, 1])
    document = Report(made.header, made.blobs).build()
    p = np.sin(0.55) ** 2
    ideal, executed = np.diag([1 - p, 0, p, 0]), np.diag([1 - share, 0, share, 0])
    expected = state_fidelity(DensityMatrix(ideal), DensityMatrix(executed))
    assert document["conditional_fidelity"]["value"] == pytest.approx(expected, abs=1e-7)
    assert document["conditional_fidelity"]["stderr"] is None


def test_single_precision_rows_are_read(lab: ModuleType) -> None:
    """Rows of complex64 amplitudes are compared like the others."""
    made = lab.request(lab.example("seed"), shots=2).with_rows(
        [0, 1], [0.5**0.5, 0, 0.5**0.5, 0], [0, 0], single=True
    )
    assert Report(made.header, made.blobs).build()["fidelity"]["fidelity_to_target_state"] == pytest.approx(1)


@pytest.mark.parametrize("harm", ["size", "row", "norm", "nan", "wire", "twice", "shots", "tableau"])
def test_malformed_rows_are_refused_without_harm(lab: ModuleType, harm: str) -> None:
    """Rows that a node made up leave `executed` null with a reason; the ideal fields are still there."""
    made = lab.request(lab.example("seed"), shots=2)
    states = {"norm": [1, 0, 1, 0], "nan": [np.nan, 0, 1, 0]}.get(harm, [1, 0, 0, 0])
    made.with_rows([0, 1], states, [0, 1 if harm == "row" else 0] + [0] * (harm == "shots"))
    ref = made.header.rows[0]
    if harm == "size":
        made.blobs[0] = (made.blobs[0][0][:-1], made.blobs[0][1])
    elif harm == "wire":
        ref.wires[0] = 7
    elif harm == "twice":
        made.with_rows([0], [1, 0], [0, 0])
    elif harm == "tableau":
        ref.executor = state.EXECUTOR_KIND_STABILIZER
    document = Report(made.header, made.blobs).build()
    assert document["executed"] is None
    assert document["reasons"]["executed"].startswith("ROWS_")
    assert document["statevector"] is not None


def test_missing_rows_say_why(lab: ModuleType) -> None:
    """Without rows the runtime's reason stands beside each field that they would have filled."""
    made = lab.request(lab.example("seed"), rows_missing_reason="executed rows exceed 16 MiB")
    document = Report(made.header, []).build()
    for name in ("executed", "fidelity_to_target_state", "conditional_fidelity"):
        assert document["reasons"][name] == "NO_ROWS: executed rows exceed 16 MiB"


def test_too_many_distinct_states_are_refused(lab: ModuleType) -> None:
    """Executed states that would not fit into memory are a typed refusal before anything is allocated."""
    from qmesh_analyzer.domain.executed import combine

    made = lab.request("OPENQASM 3.0;\nqubit[25] q;\n", shots=1).with_rows([0], [1, 0], [0])
    with pytest.raises(AnalysisError, match="do not fit"):
        combine(25, decode(made.header, made.blobs), 1)


def test_wide_products_are_compared_component_by_component(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the executed states of the whole register do not fit, the fidelity is the same without them; `executed` is null."""
    text = lab.random_circuit(11, dynamic=False)
    made = lab.request(text, shots=5)
    n = made.header.circuit.num_qubits
    rng = np.random.default_rng(4)
    for qubits in ([n - 1], list(range(n - 1))):
        rows = rng.normal(size=(3, 2 << len(qubits))).view(np.complex128)
        made.with_rows(qubits, rows / np.linalg.norm(rows, axis=1)[:, None], rng.integers(3, size=5))
    whole = Report(made.header, made.blobs).build()
    monkeypatch.setattr("qmesh_analyzer.domain.executed._MAX_AMPLITUDES", 4)
    parts = Report(made.header, made.blobs).build()
    assert parts["method"] == "rows"
    assert parts["fidelity"]["fidelity_to_target_state"] == pytest.approx(
        whole["fidelity"]["fidelity_to_target_state"], abs=1e-12
    )
    assert parts["fidelity"]["stderr"] == pytest.approx(whole["fidelity"]["stderr"], abs=1e-12)
    assert parts["executed"] is None
    new = {name: reason for name, reason in parts["reasons"].items() if name not in whole["reasons"]}
    assert set(new) == {"executed"}
    assert new["executed"].startswith("TOO_MANY_ROWS")
