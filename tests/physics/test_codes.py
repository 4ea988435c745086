"""Logical error rates of the syndrome word, and detection by [[4,2,2]], against Stim: a sample of `make soak`."""

from __future__ import annotations

import pytest
from scipy.stats import chi2

from tests.physics.codes import CODES, Comparison, Memory, compare
from tests.physics.stim_codes import STIM_CODES, reference_is_zero

_SHOTS = 25_000
_SIGMAS = 3


def _agree(found: list[Comparison]) -> None:
    off = [one for one in found if abs(one.deviation) > _SIGMAS]
    assert not off
    assert chi2.sf(sum(one.deviation**2 for one in found), len(found)) > 1e-3


@pytest.mark.parametrize(("code", "basis"), CODES)
def test_logical_error_rates_are_those_of_stim(code: str, basis: str) -> None:
    """From tableaux, at three rates: no fraction is off by 3 combined standard errors, nor all of them together."""
    found = []
    for number, error in enumerate((0.003, 0.01, 0.03)):
        memory = Memory(code, basis, error, rounds=number + 1)
        found += compare(memory, shots=_SHOTS, batches=1, seed=11 + number, stabilizer=True)
    _agree(found)


@pytest.mark.parametrize(("code", "basis", "shots"), [("four_two_two", "z", 20_000), ("steane", "x", 4_000)])
def test_amplitudes_give_the_same_rates(code: str, basis: str, shots: int) -> None:
    """The executor of amplitudes agrees with Stim, too."""
    _agree(compare(Memory(code, basis, 0.02, 2), shots=shots, batches=1, seed=5, stabilizer=False))


def test_a_rate_that_is_off_by_a_quarter_is_seen() -> None:
    """The comparison is sharp enough to fail: Stim at other rates is no agreement."""
    (ours, _) = compare(Memory("steane", "z", 0.008, 2), shots=_SHOTS, batches=1, seed=3, stabilizer=True)
    (other, _) = compare(Memory("steane", "z", 0.01, 2), shots=_SHOTS, batches=1, seed=3, stabilizer=True)
    assert abs(Comparison(ours.memory, ours.what, ours.ours, other.stim).deviation) > 2 * _SIGMAS


@pytest.mark.parametrize("name", STIM_CODES)
def test_flips_of_stim_are_bits(name: str) -> None:
    """The reference of its simulator of flips is a run in which every check reads 0."""
    assert reference_is_zero(name)
