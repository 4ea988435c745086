"""Executed stabilizer components as the nodes send them: one tableau, and the signs of each history.

Format: `docs/formats/states.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_analyzer.domain.conditions import Column
from qmesh_analyzer.domain.correlations import Columns
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.kernels import Reals, States
from qmesh_analyzer.domain.stabilizer import Affine, Stabilizer

Bits = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tableau:
    """One executed component.

    Attributes:
        qubits: n qubits of the circuit.
        x: letters of the 2n generators, destabilizers first, shape (2n, n): generator by qubit.
        z: the same for Z.
        minus: signs of the stabilizers in each history, shape (R, n).
        row_of_shot: history of each shot.
    """

    qubits: tuple[int, ...]
    x: Bits
    z: Bits
    minus: Bits
    row_of_shot: Integers

    @property
    def columns(self) -> Columns:
        """Letters of the stabilizers."""
        n = len(self.qubits)
        return Columns(self.x[n:], self.z[n:])

    def eigenvalues(self, letter: str, places: Sequence[int]) -> NDArray[np.float64]:
        """Eigenvalue of one letter on some of the qubits in each history, where it is fixed."""
        letters = ["I"] * len(self.qubits)
        for place in places:
            letters[place] = letter
        return self.value(letters)

    def value(self, letters: Sequence[str]) -> NDArray[np.float64]:
        """Expectation of a Pauli string over the qubits in each history: shape (R,)."""
        n = len(self.qubits)
        px, pz = np.isin(letters, ["X", "Y"]), np.isin(letters, ["Y", "Z"])
        if np.logical_xor.reduce((self.x[n:] & pz) ^ (self.z[n:] & px), axis=1).any():
            return np.zeros(len(self.minus))
        crossed = np.logical_xor.reduce((self.x[:n] & pz) ^ (self.z[:n] & px), axis=1)
        chosen = np.flatnonzero(crossed)
        x, z = self.x[n + chosen], self.z[n + chosen]
        before = np.logical_xor.accumulate(z, axis=0) ^ z
        quarter = int((x & z).sum()) + 2 * int((before & x).sum()) - int((px & pz).sum())
        bits = np.logical_xor.reduce(self.minus[:, chosen], axis=1) ^ bool(quarter // 2 % 2)
        return np.where(bits, -1.0, 1.0)

    def amplitudes(self) -> States:
        """Every history as amplitudes, up to a phase: the projectors of all stabilizers on a basis state that they keep."""
        n, size = len(self.qubits), 1 << len(self.qubits)
        index = np.arange(size)
        weights = 1 << np.arange(n)
        made = np.zeros((len(self.minus), size), dtype=np.complex128)
        masks = [(int(self.x[n + g] @ weights), int(self.z[n + g] @ weights)) for g in range(n)]
        rng = np.random.default_rng(0)  # any vector that is not orthogonal to the state will do
        for row, minus in enumerate(self.minus):
            vector = rng.normal(size=size) + 1j * rng.normal(size=size)
            for (x, z), bit in zip(masks, minus, strict=True):
                factor = 1j ** (x & z).bit_count() * (1 - 2 * int(bit))
                signs = 1.0 - 2.0 * (np.bitwise_count((index ^ x) & z) & 1)
                vector = (vector + factor * signs * vector[index ^ x]) / 2
            made[row] = vector / np.linalg.norm(vector)
        return made


def tableau_of(ref: state.ComponentRef, qubits: tuple[int, ...], data: bytes, rows_bytes: int) -> Tableau:
    """One component from its bytes.

    Raises:
        AnalysisError: they are not what the reference says, or no stabilizer state.
    """
    n, rows = len(qubits), int(ref.rows)
    count = 4 * n**2 + n + rows * n
    if rows_bytes != (count + 7) // 8 or len(data) - rows_bytes != 4 * ref.shots.count or not rows:
        raise _malformed("do not have the size that their reference says")
    bits = np.unpackbits(
        np.frombuffer(data, dtype=np.uint8, count=rows_bytes), count=count, bitorder="little"
    ).astype(np.bool_)
    x, z = (bits[k * 2 * n**2 : (k + 1) * 2 * n**2].reshape(n, 2 * n).T for k in (0, 1))
    crossed = (x.astype(np.int32) @ z.T.astype(np.int32)) & 1
    if not np.array_equal(crossed ^ crossed.T, np.roll(np.eye(2 * n, dtype=np.int32), n, axis=0)):
        raise _malformed("are no stabilizer states")
    rest = bits[4 * n**2 :]
    row_of_shot = np.frombuffer(data[rows_bytes:], dtype="<u4").astype(np.int64)
    if row_of_shot.size == 0 or row_of_shot.max() >= rows:
        raise _malformed("do not have a row for each shot")
    minus = rest[n:].reshape(rows, n) ^ rest[:n]
    return Tableau(qubits, np.ascontiguousarray(x), np.ascontiguousarray(z), minus, row_of_shot)


def joined(parts: list[tuple[int, Tableau]], shots: int) -> Tableau:
    """Slices of one component as one."""
    parts.sort(key=lambda part: part[0])
    seen = offset = 0
    columns, first = [], parts[0][1]
    for begin, part in parts:
        if begin != seen or not np.array_equal(part.x, first.x) or not np.array_equal(part.z, first.z):
            raise _malformed("do not cover every shot once, with the same generators")
        seen += len(part.row_of_shot)
        columns.append(part.row_of_shot + offset)
        offset += len(part.minus)
    if seen != shots:
        raise _malformed("do not cover every shot once")
    minus = np.concatenate([part.minus for _, part in parts])
    return Tableau(first.qubits, first.x, first.z, minus, np.concatenate(columns))


def _malformed(what: str) -> AnalysisError:
    return AnalysisError("ROWS_MALFORMED", f"executed rows {what}")


def overlaps(
    ideal: Stabilizer, executed: Sequence[Tableau], shots: int, symbols: Mapping[int, Column] | None = None
) -> Reals:
    """|<ideal|executed>|^2 for each shot.

    The executed stabilizers are measured on the ideal one after another: each that is fixed there must have the executed sign, each that
    is not halves the overlap.

    Args:
        ideal: the ideal state.
        executed: components; qubits that none of them has are |0>.
        shots: number of shots.
        symbols: value of each random outcome of the ideal in each shot.

    Raises:
        AnalysisError: the ideal depends on an outcome that nobody recorded.
    """
    known = dict(symbols or {})
    work, made = ideal.copy(), np.ones(shots)
    missing = sorted(set(range(ideal.n)) - {qubit for part in executed for qubit in part.qubits})
    checks = [(*work.one(qubit, "Z"), np.zeros(shots, dtype=np.bool_)) for qubit in missing]
    for part in executed:
        n = len(part.qubits)
        for g in range(n):
            x, z = np.zeros((2, ideal.n), dtype=np.bool_)
            x[list(part.qubits)], z[list(part.qubits)] = part.x[n + g], part.z[n + g]
            checks.append((x, z, part.minus[:, g][part.row_of_shot]))
    for x, z, minus in checks:
        before = work.drawn
        bit = work.measure(x, z)
        if work.drawn > before:
            known[before] = minus
            made /= 2
        else:
            made *= value_of(bit, known, shots) == minus
    return made


def value_of(bit: Affine, symbols: Mapping[int, Column], shots: int) -> Column:
    """A bit in every shot.

    Raises:
        AnalysisError: it depends on an outcome that nobody recorded.
    """
    made, mask = np.full(shots, bit.constant), bit.symbols
    while mask:
        symbol = (mask & -mask).bit_length() - 1
        if symbol not in symbols:
            raise AnalysisError(
                "MIXED_IDEAL", "the ideal depends on the outcome of a reset, which nobody recorded"
            )
        made = made ^ symbols[symbol]
        mask &= mask - 1
    return made


def recorded_symbols(
    bits: Mapping[int, Affine], versions: Sequence[int], columns: Mapping[int, Column], shots: int
) -> tuple[dict[int, Column], Column]:
    """Values of random outcomes by what was recorded, and in which shots the records can be."""
    known: dict[int, Column] = {}
    possible = np.ones(shots, dtype=np.bool_)
    for version in versions:
        if version not in columns:
            continue
        bit, value = bits[version], columns[version]
        unknown = [k for k in range(bit.symbols.bit_length()) if bit.symbols >> k & 1 and k not in known]
        if not unknown:
            possible &= value_of(bit, known, shots) == value
        elif len(unknown) == 1:
            rest = Affine(bit.constant, bit.symbols & ~(1 << unknown[0]))
            known[unknown[0]] = value_of(rest, known, shots) ^ value
    return known, possible
