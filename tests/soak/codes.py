"""Logical error rates of the syndrome word against Stim at several physical rates, to 3 combined standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from scipy.stats import chi2, norm

from tests.physics.codes import CODES, Comparison, Memory, compare
from tests.soak.evidence import Evidence, write_table

_ERRORS = (0.001, 0.003, 0.01, 0.03)
_ROUNDS = (1, 3)
_SHOTS, _BATCHES = 50_000, 8
_DENSE = Memory("", "", 0.01, 2)
_DENSE_SHOTS = {"repetition": 50_000, "four_two_two": 50_000, "steane": 20_000, "surface": 10_000}
_SIGMAS = 3
_LEAST = 1e-3
_SEED = 20261130
_SYNDROMES = "last syndrome not 0"


def run() -> Evidence:
    """Every code, basis and rate from tableaux; each code once from amplitudes."""
    found: list[tuple[str, Comparison]] = []
    experiments = [Memory(*one, error, rounds) for one, error, rounds in product(CODES, _ERRORS, _ROUNDS)]
    for number, memory in enumerate(experiments):
        made = compare(memory, shots=_SHOTS, batches=_BATCHES, seed=_SEED + number, stabilizer=True)
        found += [("tableaux", one) for one in made]
    for number, (code, basis) in enumerate(CODES, start=len(experiments)):
        memory = Memory(code, basis, _DENSE.error, _DENSE.rounds)
        shots = _DENSE_SHOTS[code]
        made = compare(memory, shots=shots, batches=1, seed=_SEED + number, stabilizer=False)
        found += [("amplitudes", one) for one in made]
    rates = [one for _, one in found if one.what != _SYNDROMES]
    syndromes = [one for _, one in found if one.what == _SYNDROMES]
    findings = [
        f"{one.memory}, {one.what}: off by {one.deviation:.1f} standard errors"
        for one in rates
        if abs(one.deviation) > _SIGMAS
    ]
    fits = {"rates": _fit(rates), "syndromes": _fit(syndromes)}
    findings += [f"deviations of all {what} together: P = {p:.1e}" for what, p in fits.items() if p < _LEAST]
    write_table(
        "codes",
        "Logical error rates of `syndrome_extraction` beside Stim's",
        "p: error probability of a CX, a read and a reset; one-qubit gates err half as often. ± one standard error.",
        ("code", "basis", "p", "rounds", "executor", "fraction", "qmesh", "Stim", "deviation / s.e."),
        [_row(executor, one) for executor, one in found],
    )
    figures = {
        "experiments": len(experiments) + len(CODES),
        "shots of an experiment, each side": f"{_SHOTS * _BATCHES} (from amplitudes {_DENSE_SHOTS})",
        "comparisons of rates, to 3 combined standard errors": len(rates),
        "chance that one of them is beyond 3 although both sides are right": round(
            1 - (1 - 2 * float(norm.sf(_SIGMAS))) ** len(rates), 3
        ),
        "largest deviation, standard errors": round(max(abs(one.deviation) for one in rates), 2),
        "P of a chi-square over the rates": round(fits["rates"], 4),
        "comparisons of the last syndrome": len(syndromes),
        "P of a chi-square over them": round(fits["syndromes"], 4),
        "table: code, basis, p, rounds, executor, fraction, qmesh, Stim, deviation": [
            " | ".join(_row(executor, one)) for executor, one in found
        ],
    }
    return Evidence("codes", not findings, figures, findings)


def _fit(found: Sequence[Comparison]) -> float:
    return float(chi2.sf(sum(one.deviation**2 for one in found), len(found)))


def _row(executor: str, one: Comparison) -> tuple[str, ...]:
    memory = one.memory
    return (
        memory.code, memory.basis, f"{memory.error:g}", str(memory.rounds), executor, one.what,
        _written(one.ours), _written(one.stim), f"{one.deviation:+.2f}",
    )  # fmt: skip


def _written(found: tuple[int, int]) -> str:
    rate, error = Comparison.rate(found)
    return f"{rate:.5f} ± {error:.5f}"
