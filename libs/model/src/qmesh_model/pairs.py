"""Pairs of entangled qubits by the errors that they carry: preparation, memory decay and purification.

A Bell-diagonal pair is Phi+ after one Pauli error on one half; the weights of the errors are all that this module handles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class PauliWeights:
    """Probabilities of the errors X, Y and Z; that of no error is the rest."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0

    @property
    def none(self) -> float:
        """Probability of no error: the process fidelity of the channel, and the Phi+ weight of a pair."""
        return 1.0 - self.x - self.y - self.z

    @classmethod
    def werner(cls, fidelity: float) -> Self:
        """A Werner pair: the other Bell states share what fidelity lacks. Reference: Werner, PRA 40 (1989) 4277.

        Args:
            fidelity: weight of Phi+, 0 to 1.
        """
        rest = (1.0 - fidelity) / 3
        return cls(rest, rest, rest)

    def then(self, later: PauliWeights) -> PauliWeights:
        """The error of this channel followed by another one; on a pair it does not matter on which half it acts."""
        a, b = self, later
        return PauliWeights(
            a.none * b.x + a.x * b.none + a.y * b.z + a.z * b.y,
            a.none * b.y + a.y * b.none + a.x * b.z + a.z * b.x,
            a.none * b.z + a.z * b.none + a.x * b.y + a.y * b.x,
        )


@dataclass(frozen=True, slots=True)
class Decay:
    """Decay of a memory during some model time: amplitude damping and pure dephasing.

    Attributes:
        damping: probability that an excited qubit relaxes, 1 - e^(-t/T1).
        dephasing: probability of a phase flip, (1 - e^(-t/Tphi)) / 2 with 1/Tphi = 1/T2 - 1/(2 T1).
    """

    damping: float
    dephasing: float

    @classmethod
    def after(cls, seconds: float, t1_seconds: float, t2_seconds: float) -> Self:
        """Decay after a time; a T1 or T2 of 0 stands for a memory that does not decay so.

        Args:
            seconds: model time, at least 0.
            t1_seconds: relaxation time.
            t2_seconds: dephasing time; more than 2 T1 is taken as 2 T1.
        """
        relaxation = 1.0 / t1_seconds if t1_seconds > 0 else 0.0
        pure = max(0.0, 1.0 / t2_seconds - relaxation / 2) if t2_seconds > 0 else 0.0
        return cls(-math.expm1(-seconds * relaxation), -math.expm1(-seconds * pure) / 2)

    def twirled(self) -> PauliWeights:
        """The Pauli channel that is left when the decay is averaged over Pauli frames."""
        flip = self.damping / 4
        kept = math.sqrt(1.0 - self.damping) * (1.0 - 2.0 * self.dephasing)  # e^(-t/T2)
        return PauliWeights(flip, flip, max(0.0, (1.0 - kept) / 2 - flip))


@dataclass(frozen=True, slots=True)
class Purified:
    """What one round makes of two equal pairs.

    Attributes:
        pair: the pair that is kept.
        success: probability that it is kept.
    """

    pair: PauliWeights
    success: float


def bbpssw(first: float, second: float) -> Purified:
    """One round on two Werner pairs, twirled to a Werner pair. Reference: Bennett et al., PRL 76 (1996) 722.

    Args:
        first: fidelity of one pair.
        second: fidelity of the other.
    """
    a, b = 1.0 - first, 1.0 - second
    success = first * second + first * b / 3 + second * a / 3 + 5 * a * b / 9
    return Purified(PauliWeights.werner((first * second + a * b / 9) / success), success)


def dejmps(pair: PauliWeights) -> Purified:
    """One round on two equal Bell-diagonal pairs. Reference: Deutsch et al., PRL 77 (1996) 2818."""
    a, b, c, d = pair.none, pair.y, pair.x, pair.z
    success = (a + b) ** 2 + (c + d) ** 2
    return Purified(
        PauliWeights(x=(c * c + d * d) / success, y=2 * c * d / success, z=2 * a * b / success), success
    )


def distilled(raw: PauliWeights, protocols: tuple[str, ...]) -> tuple[PauliWeights, float]:
    """A pair after rounds of purification, each of two pairs of the round before; with the mean number of raw pairs.

    Args:
        raw: pairs as the link delivers them.
        protocols: `bbpssw` or `dejmps` for each round.
    """
    pair, pairs = raw, 1.0
    for protocol in protocols:
        made = dejmps(pair) if protocol == "dejmps" else bbpssw(pair.none, pair.none)
        pair, pairs = made.pair, pairs * 2.0 / made.success
    return pair, pairs


def swapped(first: float, second: float) -> float:
    """Fidelity of the Werner pair that entanglement swapping makes of two. Reference: Briegel et al., PRL 81 (1998) 5932."""
    return first * second + (1.0 - first) * (1.0 - second) / 3
