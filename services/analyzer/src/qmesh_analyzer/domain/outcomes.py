"""Exact distribution of the classical bits, and how far counts are from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain import kernels
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.fields import Mixture
from qmesh_analyzer.domain.ideal import Ideal
from qmesh_analyzer.domain.kernels import Reals

MAX_OUTCOMES = 65_536
_NOTHING = 1e-15
_FEW_SHOTS = 128
_FEW_COUNTS = 40.0
_TERMS = 160  # a mean of 40 exceeds it with less than 1e-40

Bits = NDArray[np.bool_]
Integers = NDArray[np.int64]


class Exact(Protocol):
    """An exact distribution of classical bits."""

    size: int

    def probabilities(self) -> Reals:
        """Probability of every outcome of the support."""
        ...

    def mapping(self) -> dict[str, float]:
        """Probability by bit string, keyed and sorted as counts are."""
        ...

    def of(self, counts: Mapping[str, int]) -> Reals:
        """Probability of each counted bit string; 0 outside of the support."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """Outcomes that agree in the bits which mid-circuit operations wrote."""

    indices: Integers
    probabilities: Reals


class Outcomes:
    """The support of the exact distribution.

    An outcome is the value of every classical bit: some are fixed by the branch, the others are read jointly from the
    state before the terminal measurements.
    """

    def __init__(self, form: circuit.Circuit, ideal: Ideal) -> None:
        """Enumerates the outcomes.

        Raises:
            AnalysisError: there are too many.
        """
        self._form = form
        finals = list(enumerate(form.final_versions))
        self._read = [bit for bit, version in finals if version in ideal.terminal]
        self._fixed = [bit for bit, version in finals if version not in ideal.terminal]
        qubits = [ideal.terminal[form.final_versions[bit]] for bit in self._read]
        zero = np.zeros(len(ideal.weights), dtype=np.bool_)
        columns = [ideal.bits.get(form.final_versions[bit], zero) for bit in self._fixed]
        fixed = np.stack(columns, axis=1) if columns else np.zeros((len(zero), 0), dtype=np.bool_)
        self._groups: dict[bytes, Group] = {}
        self.size = 0
        for key, members in _partition(fixed):
            weights = Mixture(ideal.states[members], ideal.weights[members]).probabilities()
            marginal = kernels.marginal(weights, qubits)
            support = np.flatnonzero(marginal > _NOTHING)
            self.size += len(support)
            if self.size > MAX_OUTCOMES:
                raise AnalysisError("TOO_MANY_OUTCOMES", f"more than {MAX_OUTCOMES:,} outcomes")
            self._groups[key] = Group(support, marginal[support])

    def probabilities(self) -> Reals:
        """Probability of every outcome of the support."""
        return np.concatenate([group.probabilities for group in self._groups.values()])

    def mapping(self) -> dict[str, float]:
        """Probability by bit string, keyed and sorted as counts are."""
        result: dict[str, float] = {}
        for key, group in self._groups.items():
            bits = np.zeros((len(group.indices), self._form.num_bits), dtype=np.bool_)
            bits[:, self._fixed] = np.frombuffer(key, dtype=np.bool_)
            bits[:, self._read] = group.indices[:, None] >> np.arange(len(self._read)) & 1
            result |= zip(self._keys(bits), group.probabilities.tolist(), strict=True)
        return dict(sorted(result.items()))

    def of(self, counts: Mapping[str, int]) -> Reals:
        """Probability of each counted bit string; 0 outside of the support.

        Raises:
            AnalysisError: a bit string is not one of this circuit.
        """
        bits = self._bits(list(counts))
        indices = bits[:, self._read].astype(np.int64) @ (1 << np.arange(len(self._read), dtype=np.int64))
        result = np.zeros(len(bits))
        for key, members in _partition(bits[:, self._fixed]):
            group = self._groups.get(key)
            if group is not None and len(group.indices):
                found = np.minimum(np.searchsorted(group.indices, indices[members]), len(group.indices) - 1)
                hit = group.indices[found] == indices[members]
                result[members] = np.where(hit, group.probabilities[found], 0.0)
        return result

    def _places(self) -> tuple[int, Integers]:
        """Length of a bit string, and the place of each classical bit in it."""
        places = np.zeros(self._form.num_bits, dtype=np.int64)
        place = -1
        for register in reversed(self._form.bit_registers):
            place += 1  # the space between registers
            places[register.offset : register.offset + register.size] = place + np.arange(register.size)[::-1]
            place += register.size
        return place, places

    def _keys(self, bits: Bits) -> list[str]:
        length, places = self._places()
        characters = np.full((len(bits), length), ord(" "), dtype=np.uint8)
        characters[:, places] = bits + ord("0")
        text = characters.tobytes().decode("ascii")
        return [text[begin : begin + length] for begin in range(0, len(text), length)]

    def _bits(self, keys: Sequence[str]) -> Bits:
        length, places = self._places()
        if any(len(key) != length or set(key) - set("01 ") for key in keys):
            raise AnalysisError(
                "INVALID_ARGUMENT", "a counted bit string does not fit the circuit's registers"
            )
        characters = np.frombuffer("".join(keys).encode("ascii"), dtype=np.uint8).reshape(len(keys), length)
        return np.asarray(characters[:, places] == ord("1"))


def _partition(rows: Bits) -> list[tuple[bytes, Integers]]:
    """Distinct rows as bytes, each with the places where it stands."""
    if not rows.shape[1]:
        return [(b"", np.arange(len(rows)))] if len(rows) else []
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(inverse.ravel()))[:-1]
    return [(key.tobytes(), members) for key, members in zip(distinct, np.split(order, ends), strict=True)]


def hellinger(counts: Mapping[str, int], exact: Exact) -> tuple[float, float]:
    """Hellinger fidelity of counts to the exact distribution, and its expected value under sampling noise alone.

    Returns:
        (sum over outcomes of sqrt(p q))^2, and the same with E[sqrt(q)] for q sampled from p: the variance of the sum,
        of second order, is left out.
    """
    shots = sum(counts.values())
    sampled = np.array(list(counts.values()), dtype=np.float64) / shots
    overlap = float(np.sum(np.sqrt(sampled * exact.of(counts))))
    p = exact.probabilities()
    expected = float(np.sum(np.sqrt(p / shots) * mean_root(shots, p)))
    return min(1.0, overlap**2), min(1.0, expected**2)


def mean_root(shots: int, p: Reals) -> Reals:
    """E[sqrt(K)] for binomial K: the exact sum where few counts are expected, else the series to second order."""
    p, inverse = np.unique(np.clip(p, 0.0, 1.0), return_inverse=True)
    if shots < _FEW_SHOTS:
        return _summed(shots, p)[inverse]
    mean, q = shots * p, 1 - p
    few = mean < _FEW_COUNTS
    mean = np.where(few, 1.0, mean)
    result = np.sqrt(mean) * (
        1 - q / (8 * mean) + q * (1 - 2 * p) / (16 * mean**2) - 15 * q**2 / (128 * mean**2)
    )
    ratio, chance, total = p[few] / q[few], np.exp(shots * np.log1p(-p[few])), np.zeros(int(few.sum()))
    for count in range(1, _TERMS):
        chance *= ratio * ((shots - count + 1) / count)
        total += np.sqrt(count) * chance
        if count > shots * p[few].max(initial=0.0) and not np.any(chance > _NOTHING):
            break
    result[few] = total
    return np.asarray(result[inverse])


def _summed(shots: int, p: Reals) -> Reals:
    counts = np.arange(shots + 1)
    ways = np.array([float(comb(shots, int(count))) for count in counts])
    return np.asarray((ways * p[:, None] ** counts * (1 - p)[:, None] ** (shots - counts)) @ np.sqrt(counts))
