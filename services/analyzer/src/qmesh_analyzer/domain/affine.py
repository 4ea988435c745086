"""The exact distribution of classical bits that are sums of fair coins: uniform over an affine space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.kernels import Reals
from qmesh_analyzer.domain.outcomes import MAX_OUTCOMES
from qmesh_analyzer.domain.stabilizer import Affine


class AffineOutcomes:
    """Outcomes as numbers: bit k of a number is classical bit k."""

    def __init__(self, form: circuit.Circuit, bits: Mapping[int, Affine]) -> None:
        """Takes the value of each version.

        Raises:
            AnalysisError: there are too many outcomes.
        """
        self._form = form
        values = [bits.get(version, Affine()) for version in form.final_versions]
        self._origin, self._basis = affine_space(values)
        if len(self._basis) >= MAX_OUTCOMES.bit_length():
            raise AnalysisError("TOO_MANY_OUTCOMES", f"more than {MAX_OUTCOMES:,} outcomes")
        self.size = 1 << len(self._basis)

    def probabilities(self) -> Reals:
        """Probability of every outcome of the support."""
        return np.full(self.size, 1 / self.size)

    def mapping(self) -> dict[str, float]:
        """Probability by bit string, keyed and sorted as counts are."""
        keys = [self._key(number) for number in elements(self._origin, self._basis, self.size)]
        return dict.fromkeys(sorted(keys), 1 / self.size)

    def of(self, counts: Mapping[str, int]) -> Reals:
        """Probability of each counted bit string; 0 outside of the support.

        Raises:
            AnalysisError: a bit string is not one of this circuit.
        """
        return np.array([self._probability(key) for key in counts])

    def _probability(self, key: str) -> float:
        digits = key.replace(" ", "")
        if len(digits) != self._form.num_bits or set(digits) - {"0", "1"} or self._key(int(digits, 2)) != key:
            raise AnalysisError(
                "INVALID_ARGUMENT", "a counted bit string does not fit the circuit's registers"
            )
        rest = int(digits, 2) ^ self._origin
        for vector in self._basis:
            rest = min(rest, rest ^ vector)
        return 0.0 if rest else 1 / self.size

    def _key(self, number: int) -> str:
        parts = [
            f"{number >> register.offset & (1 << register.size) - 1:0{register.size}b}"
            for register in reversed(self._form.bit_registers)
        ]
        return " ".join(parts)


def affine_space(values: Sequence[Affine]) -> tuple[int, list[int]]:
    """The least number that bits can form, and a basis of what it may differ in, greatest leading bit first.

    Each leading bit is set in one basis vector only, and not in the number.
    """
    origin = sum(bit.constant << place for place, bit in enumerate(values))
    columns: dict[int, int] = {}
    for place, bit in enumerate(values):
        mask = bit.symbols
        while mask:
            symbol = mask & -mask
            columns[symbol] = columns.get(symbol, 0) | 1 << place
            mask ^= symbol
    basis: list[int] = []
    for vector in columns.values():
        for other in basis:
            vector = min(vector, vector ^ other)  # noqa: PLW2901 - reduced step by step
        if vector:
            lead = 1 << vector.bit_length() - 1
            basis = [other ^ vector if other & lead else other for other in basis]
            basis.append(vector)
            basis.sort(reverse=True)
    for vector in basis:
        origin = min(origin, origin ^ vector)
    return origin, basis


def elements(origin: int, basis: Sequence[int], count: int) -> list[int]:
    """The least elements of an affine space in ascending order."""
    made = [origin]
    for vector in reversed(basis):
        if len(made) >= count:
            break
        made += [number ^ vector for number in made]
    return made[:count]
