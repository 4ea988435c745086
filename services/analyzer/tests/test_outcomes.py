"""Distribution of the classical bits, and the Hellinger fidelity of counts to it."""

from types import ModuleType

import numpy as np
import pytest
from qiskit.quantum_info import hellinger_fidelity
from scipy.stats import binom

from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.fields import top
from qmesh_analyzer.domain.ideal import ideal_of
from qmesh_analyzer.domain.outcomes import Outcomes, hellinger, mean_root
from qmesh_analyzer.domain.report import Report


def _outcomes(lab: ModuleType, text: str) -> Outcomes:
    form = lab.request(text).header.circuit
    return Outcomes(form, ideal_of(form))


def _sampled(p: dict[str, float], shots: int, draw: np.random.Generator) -> dict[str, int]:
    keys, values = list(p), np.array(list(p.values()))
    return {
        key: int(n) for key, n in zip(keys, draw.multinomial(shots, values / values.sum()), strict=True) if n
    }


@pytest.mark.parametrize("seed", range(10))
def test_hellinger_is_that_of_qiskit(lab: ModuleType, seed: int | None) -> None:
    """The fidelity of counts to the exact distribution is Qiskit's `hellinger_fidelity`."""
    exact = _outcomes(lab, lab.random_circuit(seed))
    counts = _sampled(exact.mapping(), 50, np.random.default_rng(seed))
    value, _ = hellinger(counts, exact)
    assert value == pytest.approx(hellinger_fidelity(counts, exact.mapping()), abs=1e-12)


@pytest.mark.parametrize("shots", [60, 400, 20_000])
def test_expected_hellinger_is_the_mean_of_samples(lab: ModuleType, shots: int) -> None:
    """The expected value under sampling noise is the mean over seeded samples within 1 %."""
    exact = _outcomes(lab, lab.random_circuit(4))
    draw = np.random.default_rng(shots)
    values = [hellinger(_sampled(exact.mapping(), shots, draw), exact) for _ in range(300)]
    assert values[0][1] == pytest.approx(np.mean([value for value, _ in values]), rel=0.01)


@pytest.mark.parametrize("shots", [1, 5, 127, 128, 1000, 100_000])
def test_mean_root_is_that_of_the_binomial(shots: int) -> None:
    """E[sqrt(K)] agrees with the sum over the binomial distribution."""
    p = np.array([1e-9, 1e-4, 0.01, 0.03, 0.05, 0.3, 0.5, 0.9, 1.0])
    counts = np.arange(shots + 1)
    expected = [np.sqrt(counts) @ binom.pmf(counts, shots, value) for value in p]
    np.testing.assert_allclose(mean_root(shots, p), expected, rtol=2e-5)


def test_counts_outside_of_the_support_count_nothing(lab: ModuleType) -> None:
    """Outcomes that the ideal never gives lower the fidelity by their share."""
    exact = _outcomes(lab, lab.example("ghz8"))
    value, _ = hellinger({"00000000": 50, "11111111": 25, "01111111": 25}, exact)
    assert value == pytest.approx((np.sqrt(0.5 * 0.5) + np.sqrt(0.25 * 0.5)) ** 2)


def test_a_foreign_bit_string_refuses_the_request(lab: ModuleType) -> None:
    """Counts that do not fit the registers are an invalid request, not a low fidelity."""
    with pytest.raises(AnalysisError, match="does not fit"):
        Report(lab.request(lab.example("ghz8"), counts={"000": 4}).header, []).build()


def test_more_than_the_limit_of_outcomes_is_null_with_a_reason(lab: ModuleType) -> None:
    """2^17 equal outcomes have no distribution fidelity; 2^13 have one but are not listed."""
    for n, known in ((17, False), (13, True)):
        text = f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[{n}] q;\nbit[{n}] c;\nh q;\nc = measure q;'
        document = Report(lab.request(text, counts={"0" * n: 4}).header, []).build()
        assert document["reasons"]["measured_probabilities"].startswith("TOO_MANY_OUTCOMES")
        assert (document["distribution_fidelity"] is not None) is known


def test_nothing_measured_is_said(lab: ModuleType) -> None:
    """A circuit without measurements has an empty distribution and no fidelity of it."""
    document = Report(
        lab.request('OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit q;\nh q;').header, []
    ).build()
    assert document["measured_probabilities"] == {}
    assert document["reasons"]["distribution_fidelity"] == "NOTHING_MEASURED"


def test_top_states_come_in_order_with_ties_by_index() -> None:
    """The block search finds what a full sort finds, also where all values are equal."""
    draw = np.random.default_rng(6)
    for values in (draw.random(1 << 14), np.ones(1 << 14), np.round(draw.random(1 << 13), 2), draw.random(8)):
        p = values / values.sum()
        expected = np.lexsort((np.arange(len(p)), -np.round(p, 12)))[:16].tolist()
        assert top(p) == expected
