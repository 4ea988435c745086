"""The ideal state as factors over components: products, and states that a wrong plan tears apart."""

from __future__ import annotations

from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.quantum_info import Statevector

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.factors import Factors, factors_of, ideal_factors
from qmesh_analyzer.domain.ideal import ideal_of
from qmesh_analyzer.domain.report import Report

PRODUCT = """OPENQASM 3.0;
include "stdgates.inc";
qubit[5] q;
bit[5] c;
ry(0.7) q[0]; cx q[0], q[3]; t q[3];
ry(1.1) q[1]; cx q[1], q[4]; rz(0.4) q[4];
h q[2]; t q[2];
c = measure q;
"""


def _random(rng: np.random.Generator, qubits: int) -> Any:
    vector = rng.normal(size=2 << qubits).view(np.complex128)
    return vector / np.linalg.norm(vector)


def _amplitude(factors: Factors, parts: list[Any]) -> complex:
    """<ideal|parts> as the holders and the runtime form it."""
    amplitude = 0j
    for k, weight in enumerate(factors.weights):
        pairs = zip(factors.vectors, parts, strict=True)
        amplitude += complex(weight * np.prod([np.vdot(vectors[k], part) for vectors, part in pairs]))
    return amplitude


def _whole(qubits: int, components: list[list[int]], parts: list[Any]) -> Any:
    """The product state of parts over the circuit's qubits, by Qiskit; other qubits are |0>."""
    order = [qubit for component in components for qubit in component]
    order += [qubit for qubit in range(qubits) if qubit not in order]
    parts = [*parts, np.eye(1, 1 << qubits - sum(map(len, components)))[0]]
    product = Statevector(reduce(lambda low, high: np.kron(high, low), parts))
    whole = Statevector.from_int(0, 1 << qubits).data * 0
    for index, amplitude in enumerate(product.data):
        whole[sum((index >> k & 1) << qubit for k, qubit in enumerate(order))] = amplitude
    return whole


@given(st.integers(0, 2**32), st.permutations(range(7)), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_the_amplitude_is_exact_whatever_the_ideal_state(
    seed: int, order: list[int], widths: list[int]
) -> None:
    """Entangled or not, over any components in any order: the sum over terms is the overlap of the whole states."""
    rng, components, at = np.random.default_rng(seed), [], 0
    for width in widths:
        components.append(order[at : at + width])
        at += width
    components = [component for component in components if component]
    parts = [_random(rng, len(component)) for component in components]
    executed = _whole(7, components, parts)
    ideal = _random(rng, 7)
    factors = factors_of(ideal, components, most=256)
    assert factors.remainder == 0
    assert _amplitude(factors, parts) == pytest.approx(np.vdot(ideal, executed), abs=1e-9)
    product = _whole(7, components, [_random(rng, len(component)) for component in components])
    single = factors_of(product, components)
    assert len(single.weights) == 1
    assert single.weights[0] == pytest.approx(1)
    assert all(np.linalg.norm(v[0]) == pytest.approx(1) for v in single.vectors)
    assert _amplitude(single, parts) == pytest.approx(np.vdot(product, executed), abs=1e-9)


def test_what_is_left_out_is_bounded() -> None:
    """With fewer terms than the state has, the overlap is never further off than the remainder says, nor are there more terms."""
    rng = np.random.default_rng(8)
    components = [[0, 1, 2], [3, 4, 5], [6]]
    ideal = _random(rng, 7)
    for most in (1, 2, 5, 9):
        factors = factors_of(ideal, components, most=most)
        assert len(factors.weights) <= most
        assert factors.remainder > 0
        for _ in range(20):
            parts = [_random(rng, len(component)) for component in components]
            exact = np.vdot(ideal, _whole(7, components, parts))
            assert abs(_amplitude(factors, parts) - exact) <= factors.remainder + 1e-12


def test_a_planners_bug_shows(lab: ModuleType) -> None:
    """A Bell pair in components that a wrong plan never joined: 1/2 for |00>, exactly, and neither null nor 1."""
    factors = factors_of(np.array([0.5**0.5, 0, 0, 0.5**0.5], dtype=np.complex128), [[0], [1]])
    zero, plus = np.array([1, 0]), np.array([1, 1]) / 2**0.5
    assert len(factors.weights) == 2
    assert abs(_amplitude(factors, [zero, zero])) ** 2 == pytest.approx(0.5)
    assert abs(_amplitude(factors, [plus, plus])) ** 2 == pytest.approx(0.5)
    assert abs(_amplitude(factors, [zero, zero[::-1]])) == pytest.approx(0)


def test_what_is_not_zero_on_untouched_qubits_is_lost() -> None:
    """Qubits of no component are |0> in what was executed: the weight of the ideal state beside that is infidelity."""
    theta = 0.8
    state = np.kron([np.cos(theta), np.sin(theta)], [0.6, 0.8j]).astype(np.complex128)
    factors = factors_of(state, [[0]])
    assert abs(_amplitude(factors, [np.array([0.6, 0.8j])])) ** 2 == pytest.approx(np.cos(theta) ** 2)
    lost = factors_of(np.array([0, 0, 0, 1], dtype=np.complex128), [[0]])
    assert lost.remainder == 0
    assert all(abs(_amplitude(lost, [row])) == 0 for row in np.eye(2))


def _request(lab: ModuleType, text: str, final: list[int], *components: list[int]) -> analysis.FactorRequest:
    return analysis.FactorRequest(
        circuit=lab.request(text).header.circuit,
        final_wires=final,
        components=[analysis.ComponentWires(wires=wires) for wires in components],
    )


def test_wires_are_brought_back_to_qubits(lab: ModuleType) -> None:
    """Factors of a circuit over permuted wires, in the axis order of each component, make up its own state."""
    request = _request(lab, PRODUCT, [7, 3, 9, 1, 4], [1, 7], [9], [3, 4])
    factors = ideal_factors(request)
    assert [v.shape for v in factors.vectors] == [(1, 4), (1, 2), (1, 4)]
    ideal = ideal_of(request.circuit).states[0]
    whole = _whole(5, [[3, 0], [2], [1, 4]], [v[0] for v in factors.vectors])
    assert abs(np.vdot(ideal, whole)) == pytest.approx(1)


@pytest.mark.parametrize("components", [[], [[]], [[0, 0]], [[0], [0]], [[0, 17]]])
def test_components_that_make_no_sense(lab: ModuleType, components: list[list[int]]) -> None:
    """None, an empty one, a wire twice, a wire that the circuit does not end on: INVALID_ARGUMENT."""
    with pytest.raises(AnalysisError) as caught:
        ideal_factors(_request(lab, PRODUCT, [0, 1, 2, 3, 4], *components))
    assert caught.value.code == "INVALID_ARGUMENT"


def test_outcomes_leave_nothing_to_factor(lab: ModuleType) -> None:
    """A measurement in the middle: there is no single ideal state."""
    text = PRODUCT.replace("h q[2];", "h q[2]; c[2] = measure q[2]; h q[2];")
    with pytest.raises(AnalysisError) as caught:
        ideal_factors(_request(lab, text, [0, 1, 2, 3, 4], [0, 3]))
    assert caught.value.code == "NO_PURE_STATE"


@pytest.mark.parametrize("text", ["seed", "ghz"])
@pytest.mark.parametrize("lower", [False, True])
def test_what_the_holders_found_is_told(lab: ModuleType, text: str, lower: bool) -> None:
    """Fidelity, error, method and reasons of a comparison at the holders, by amplitudes and by generators."""
    gates = "h q[0];\n" + "".join(f"cx q[{k}], q[{k + 1}];\n" for k in range(13))
    wide = f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[14] q;\nbit[14] c;\n{gates}c = measure q;'
    overlap = analysis.HolderOverlap(fidelity=0.75, stderr=0.01, lower_bound=lower)
    request = lab.request(
        lab.example("seed") if text == "seed" else wide,
        overlap=overlap,
        rows_missing_reason="executed rows exceed 16 MiB",
    )
    document = Report(request.header, []).build()
    assert (document["method"], document["ideal_method"]) == (
        "holder-overlap",
        "statevector" if text == "seed" else "stabilizer",
    )
    assert document["fidelity"]["fidelity_to_target_state"] == 0.75
    assert document["fidelity"]["stderr"] == 0.01
    assert document["conditional_fidelity"] == {"value": 0.75, "stderr": 0.01}
    assert document["reasons"]["executed"] == "NO_ROWS: executed rows exceed 16 MiB"
    assert document["reasons"].get("fidelity_to_target_state", "").startswith("LOWER_BOUND" if lower else "")
    assert ("fidelity_to_target_state" in document["reasons"]) == lower


def test_outcomes_are_never_compared_by_holders(lab: ModuleType) -> None:
    """Without a single target what holders found means nothing, and is not told."""
    text = PRODUCT.replace("h q[2];", "h q[2]; c[2] = measure q[2]; h q[2];")
    request = lab.request(text, overlap=analysis.HolderOverlap(fidelity=0.75))
    document = Report(request.header, []).build()
    assert document["method"] is None
    assert document["fidelity"]["fidelity_to_target_state"] is None
    assert document["conditional_fidelity"] is None
