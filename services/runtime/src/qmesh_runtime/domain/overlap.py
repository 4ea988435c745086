"""Fidelity of shots from overlaps of their components with factors of the ideal state."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_ABOVE_ONE = 1e-6
"""What rounding may add to the overlap of two normalised vectors."""


@dataclass(frozen=True, slots=True)
class Factors:
    """An ideal state: sum over terms of weight x product over components of the term's factor, plus a remainder.

    Attributes:
        weights: weight of each term.
        remainder: bound on the norm of what the terms leave out.
        vectors: for each component its factors[terms, 2^n] of complex128, as bytes.
    """

    weights: tuple[float, ...]
    remainder: float
    vectors: tuple[bytes, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all factors."""
        return sum(map(len, self.vectors))


@dataclass(frozen=True, slots=True)
class HolderOverlaps:
    """What the holder of one component answers.

    Attributes:
        rows: number of rows of the component.
        values: `overlaps[terms, rows]` of complex128, <factor|row>, as bytes.
        row_of_shot: row of each shot as uint32, as bytes.
    """

    rows: int
    values: bytes | memoryview
    row_of_shot: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean of a quantity over shots and the sum of squared deviations from it.

    Attributes:
        shots: number of shots.
        mean: mean over them.
        deviations: sum of squared deviations.
        lower_bound: the quantity is bounded from below only.
    """

    shots: int
    mean: float
    deviations: float
    lower_bound: bool = False

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean; None for a single shot."""
        return math.sqrt(self.deviations / (self.shots - 1) / self.shots) if self.shots > 1 else None

    def joined(self, other: Spread) -> Spread:
        """The spread over the shots of both."""
        shots, apart = self.shots + other.shots, other.mean - self.mean
        return Spread(
            shots,
            self.mean + apart * other.shots / shots,
            self.deviations + other.deviations + apart**2 * self.shots * other.shots / shots,
            self.lower_bound or other.lower_bound,
        )


def spread_of(factors: Factors, answers: Sequence[HolderOverlaps]) -> Spread:
    """|<ideal|executed>|^2 over shots; shot s of one component belongs with shot s of every other.

    Where the terms leave a remainder, each shot counts with the least that its overlap can be.

    Raises:
        ValueError: an answer holds no overlaps, or rows that are not there.
    """
    terms = len(factors.weights)
    tables = [_table(answer, terms) for answer in answers]
    rows = [array("I", bytes(answer.row_of_shot)) for answer in answers]
    if any(max(column) >= answer.rows for column, answer in zip(rows, answers, strict=True)):
        raise ValueError("a holder names rows that are not there")
    histories = Counter(zip(*rows, strict=True))
    values = [
        (_overlap(factors, tables, history) ** 2, shots) for history, shots in sorted(histories.items())
    ]
    count = histories.total()
    mean = math.fsum(value * shots for value, shots in values) / count
    deviations = math.fsum((value - mean) ** 2 * shots for value, shots in values)
    return Spread(count, mean, deviations, factors.remainder > 0)


def _overlap(
    factors: Factors, tables: Sequence[Sequence[Sequence[complex]]], history: Sequence[int]
) -> float:
    amplitude = 0j
    for term, weight in enumerate(factors.weights):
        product = complex(weight)
        for table, row in zip(tables, history, strict=True):
            product *= table[term][row]
        amplitude += product
    return max(0.0, abs(amplitude) - factors.remainder)


def _table(answer: HolderOverlaps, terms: int) -> list[list[complex]]:
    """Overlaps by term and row."""
    reals = array("d", bytes(answer.values))
    flat = [complex(real, imaginary) for real, imaginary in zip(reals[::2], reals[1::2], strict=True)]
    if len(flat) != terms * answer.rows or not all(abs(value) <= 1 + _ABOVE_ONE for value in flat):
        raise ValueError("a holder's answer holds no overlaps")
    return [flat[term * answer.rows : (term + 1) * answer.rows] for term in range(terms)]
