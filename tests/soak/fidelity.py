"""Sampled fidelity of noisy circuits beside the exact one of the density matrix, and what the plan had predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
from scipy.stats import binom, chi2

from tests.physics.sampled import Comparison, compare
from tests.soak.evidence import FOLDER, Evidence, write_table

_CIRCUITS = 1000
_SAMPLES = 8
_SHOTS = 4000
_BASE = 1_000_000
_WANTED = 0.95
_LINE = 200
_LEAST = 1e-3
_TWO_SIGMA = 0.9545
_EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_TEXT = f"""{_CIRCUITS} noisy circuits of 2 to 8 qubits over 2 to 4 nodes. The prediction is the product of process
fidelities, the probability that nothing errs; the exact fidelity is by the density matrix. The prediction is low: an error
often leaves the state of a circuit as it is. Drawn: [plot](fidelity.svg)."""
_SIDE, _EDGE = 420, 40


def run() -> Evidence:
    """A thousand circuits of 2 to 8 qubits over 2 to 4 nodes, each sampled several times.

    The share of a right sampler is 0.954 on average: that of 200 samples may well be below 0.95, that of 8,000 is not.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the workers, which are as many as there are cores
    one_circuit = partial(compare, max_qubits=8, shots=_SHOTS, samples=_SAMPLES)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        found = list(pool.map(one_circuit, range(_BASE, _BASE + _CIRCUITS), chunksize=10))
    scores = np.array([one.scores for one in found])
    inside = np.abs(scores) <= 2
    within = float(inside.mean())
    together = chi2.sf((scores**2).sum(axis=1), _SAMPLES)
    (FOLDER / "fidelity.svg").write_text(_plot(found))
    write_table(
        "fidelity",
        "Fidelity that a plan predicts, and that the executed state has",
        _TEXT,
        ("exact fidelity", "circuits", "mean of predicted - exact", "mean of its amount", "largest amount"),
        _rows(found),
    )
    values = np.array([[sample.value for sample in one.samples] for one in found])
    exact = np.array([[one.exact] for one in found])
    bounded = (values - exact) / np.sqrt(
        exact * (1 - exact) / _SHOTS
    )  # no mean of numbers in [0, 1] varies more
    lines = inside.T.reshape(-1, _LINE).mean(
        axis=1
    )  # in the order of samples: each line has 200 different circuits
    errors = np.array([one.predicted - one.exact for one in found])
    figures = {
        "circuits": len(found),
        "samples of each": _SAMPLES,
        "shots of a sample": _SHOTS,
        "pairs used": sum(one.pairs for one in found),
        "within 2 standard errors of the exact fidelity, share of all samples": round(within, 4),
        "chance that a right sampler of normal errors would have a share of 0.95": round(
            float(binom.sf(_WANTED * scores.size - 1, scores.size, _TWO_SIGMA)), 4
        ),
        f"shares of {_LINE} circuits each: least, median, most, how many of how many at 0.95": [
            float(lines.min()), float(np.median(lines)), float(lines.max()),
            f"{int((lines >= _WANTED).sum())} of {len(lines)}",
        ],
        "within 3": round(float((np.abs(scores) <= 3).mean()), 4),
        "largest deviation, standard errors": round(float(np.abs(scores).max()), 2),
        "largest deviation by the largest standard error that this exact fidelity can have": round(
            float(np.abs(bounded).max()), 2
        ),
        "mean and standard deviation of deviation / standard error": [
            round(float(scores.mean()), 4), round(float(scores.std()), 4),
        ],
        "smallest P of a chi-square over the samples of one circuit": float(f"{together.min():.2g}"),
        "circuits whose prediction is at most the exact fidelity": int((errors <= 0).sum()),
        "mean of predicted - exact": round(float(errors.mean()), 4),
        "mean of |predicted - exact|": round(float(np.abs(errors).mean()), 4),
        "predictor's error by exact fidelity, and as a plot": ["docs/evidence/fidelity.md", "docs/evidence/fidelity.svg"],
    }  # fmt: skip
    wrong = []
    if within < _WANTED:
        wrong.append(f"{within:.4f} of the samples are within 2 standard errors")
    if together.min() < _LEAST / len(found):
        wrong.append(f"circuit {_BASE + int(together.argmin())} is off: P = {together.min():.1e}")
    return Evidence("fidelity", not wrong, figures, wrong)


def _rows(found: Sequence[Comparison]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for low, high in pairwise(_EDGES):
        last = high == _EDGES[-1]
        errors = np.array(
            [
                one.predicted - one.exact
                for one in found
                if low <= one.exact < high or (last and one.exact >= high)
            ]
        )
        if len(errors):
            amounts = np.abs(errors)
            rows.append(
                (
                    f"{low:.1f} to {high:.1f}", str(len(errors)), f"{errors.mean():+.4f}", f"{amounts.mean():.4f}",
                    f"{amounts.max():.4f}",
                )
            )  # fmt: skip
    return rows


def _plot(found: Sequence[Comparison]) -> str:
    """A scatter plot as SVG: exact fidelity to the right, predicted one upwards."""
    span = _SIDE - 2 * _EDGE

    def place(value: float) -> float:
        return _EDGE + span * min(1.0, max(0.0, value))

    marks = [
        f'<circle cx="{place(one.exact):.1f}" cy="{_SIDE - place(one.predicted):.1f}" r="2" fill="#3465a4" fill-opacity="0.5"/>'
        for one in found
    ]
    ticks = [
        f'<text x="{place(v):.0f}" y="{_SIDE - _EDGE + 16}" text-anchor="middle">{v:g}</text>'
        f'<text x="{_EDGE - 6}" y="{_SIDE - place(v) + 4:.0f}" text-anchor="end">{v:g}</text>'
        for v in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    frame = (
        f'<rect x="{_EDGE}" y="{_EDGE}" width="{span}" height="{span}" fill="none" stroke="#888"/>'
        f'<line x1="{_EDGE}" y1="{_SIDE - _EDGE}" x2="{_SIDE - _EDGE}" y2="{_EDGE}" stroke="#888" stroke-dasharray="4"/>'
        f'<text x="{_SIDE / 2}" y="{_SIDE - 6}" text-anchor="middle">exact fidelity of the executed state</text>'
        f'<text x="12" y="{_SIDE / 2}" text-anchor="middle" transform="rotate(-90 12 {_SIDE / 2})">predicted by the plan</text>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SIDE}" height="{_SIDE}" font-family="sans-serif" font-size="11">'
    return "\n".join(
        [head, '<rect width="100%" height="100%" fill="white"/>', frame, *ticks, *marks, "</svg>", ""]
    )
