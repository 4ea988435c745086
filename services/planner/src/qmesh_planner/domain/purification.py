"""Purification of pairs: fidelity, and mean number of raw pairs (physics.md section 1).

References: Bennett et al., PRL 76 (1996) 722 (BBPSSW); Deutsch et al., PRL 77 (1996) 2818 (DEJMPS).
"""

from __future__ import annotations

from collections.abc import Sequence

type Bell = tuple[float, float, float, float]
"""Weights of Phi+, Psi-, Psi+ and Phi-; they sum to 1."""

BBPSSW = "distillation"
DEJMPS = "distillation_dejmps"


def werner(fidelity: float) -> Bell:
    """The Werner pair of a fidelity."""
    rest = (1 - fidelity) / 3
    return fidelity, rest, rest, rest


def bbpssw(one: float, other: float) -> tuple[float, float]:
    """Success probability, and fidelity of the pair that stays, for two Werner pairs."""
    p = one * other + one * (1 - other) / 3 + other * (1 - one) / 3 + 5 * (1 - one) * (1 - other) / 9
    return p, (one * other + (1 - one) * (1 - other) / 9) / p


def dejmps(pair: Bell) -> tuple[float, Bell]:
    """Success probability, and the pair that stays, for two equal Bell-diagonal pairs."""
    a, b, c, d = pair
    p = (a + b) ** 2 + (c + d) ** 2
    return p, ((a * a + b * b) / p, 2 * c * d / p, (c * c + d * d) / p, 2 * a * b / p)


def purified(fidelity: float, rounds: Sequence[str]) -> tuple[float, float]:
    """Fidelity of the delivered pair, and the mean number of raw pairs behind it, the product of 2/p.

    BBPSSW turns its pairs into Werner pairs first; a delivered pair counts as a Werner pair of its fidelity.
    """
    pair, raw = werner(fidelity), 1.0
    for protocol in rounds:
        if protocol == DEJMPS:
            p, pair = dejmps(pair)
        else:
            p, better = bbpssw(pair[0], pair[0])
            pair = werner(better)
        raw *= 2 / p
    return pair[0], raw
