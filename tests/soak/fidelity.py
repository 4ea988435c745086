"""Sampled fidelity of noisy circuits beside the exact one of the density matrix, and what the plan had predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.physics.sampled import Comparison, compare
from tests.soak.evidence import FOLDER, Evidence

_CIRCUITS = 1000
_SHOTS = 4000
_BASE = 1_000_000
_WANTED = 0.95
_SIDE, _EDGE = 420, 40


def run() -> Evidence:
    """A thousand circuits of 2 to 8 qubits over 2 to 4 nodes."""
    found = [compare(_BASE + seed, max_qubits=8, shots=_SHOTS) for seed in range(_CIRCUITS)]
    deviations = np.array([one.deviation for one in found])
    errors = np.array([one.predicted - one.exact for one in found])
    within = float((deviations <= 2).mean())
    (FOLDER / "fidelity.svg").write_text(_plot(found))
    figures = {
        "circuits": len(found),
        "qubits": "2 to 8",
        "pairs used": sum(one.pairs for one in found),
        "within 2 standard errors of the exact fidelity": within,
        "within 3": float((deviations <= 3).mean()),
        "largest deviation, standard errors": round(float(deviations.max()), 2),
        "mean of predicted - exact": round(float(errors.mean()), 4),
        "mean of |predicted - exact|": round(float(np.abs(errors).mean()), 4),
        "by exact fidelity: circuits, mean and largest |predicted - exact|": _table(found),
    }
    wrong = [f"{within:.3f} of the circuits are within 2 standard errors"] if within < _WANTED else []
    return Evidence("fidelity", not wrong, figures, wrong)


def _table(found: Sequence[Comparison]) -> dict[str, list[float]]:
    rows = {}
    for low in (0.0, 0.5, 0.6, 0.7, 0.8, 0.9):
        high = {0.0: 0.5, 0.9: 1.01}.get(low, low + 0.1)
        errors = [abs(one.predicted - one.exact) for one in found if low <= one.exact < high]
        if errors:
            rows[f"{low:.1f} to {min(high, 1.0):.1f}"] = [
                len(errors), round(float(np.mean(errors)), 4), round(max(errors), 4),
            ]  # fmt: skip
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
