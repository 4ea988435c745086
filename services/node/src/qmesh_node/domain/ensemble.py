"""A component as an ensemble: one row of amplitudes for each distinct history, and the row of each shot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain import kernels, readout
from qmesh_node.domain.randomness import Uniforms
from qmesh_node.domain.sweeps import States

RowOfShot = NDArray[np.uint32]
Bits = NDArray[np.bool_]
Room = Callable[[int], None]
"""Told how many rows are about to be allocated; raises when they do not fit."""

_Z = 3


@dataclass(frozen=True, slots=True)
class Split:
    """How rows are split so that all shots of a row carry one label.

    Attributes:
        labels: label of each row after the split.
        origin: row before of each row after; the first are those that were there. None when no row is split.
        row_of_shot: row of each shot after the split.
    """

    labels: NDArray[np.int64]
    origin: NDArray[np.int64] | None
    row_of_shot: RowOfShot


def split_rows(row_of_shot: RowOfShot, rows: int, labels: NDArray[np.integer], count: int) -> Split:
    """Splits rows by the labels (0 to count - 1) of their shots; only rows that are split have a new one."""
    changed = np.flatnonzero(labels)
    of_row = np.zeros(rows, dtype=np.int64)
    if not len(changed):
        return Split(of_row, None, row_of_shot)
    pairs = row_of_shot[changed].astype(np.int64) * count + labels[changed]
    distinct, inverse = np.unique(pairs, return_inverse=True)
    origin = distinct // count
    left = np.bincount(row_of_shot, minlength=rows) - np.bincount(row_of_shot[changed], minlength=rows)
    first = np.concatenate([[True], origin[1:] != origin[:-1]])
    stays = first & (left[origin] == 0)  # no shot of the row is unlabelled: its first label takes it over
    of_row[origin[stays]] = (distinct % count)[stays]
    place = np.where(stays, origin, rows + np.cumsum(~stays) - 1)
    made = row_of_shot.copy()
    made[changed] = place[inverse]
    if stays.all():
        return Split(of_row, None, made)
    new = origin[~stays]
    return Split(
        np.concatenate([of_row, (distinct % count)[~stays]]), np.concatenate([np.arange(rows), new]), made
    )


@dataclass(slots=True)
class Ensemble:
    """`states[R, 2^n]` little-endian over `wires`, and `row_of_shot[S]`.

    An ensemble that came from the store is shared and read-only: `own()` copies it before the first change. `spare` is the
    larger array that `states` is the beginning of, where rows are added without moving those that are there.
    """

    wires: tuple[int, ...]
    states: States
    row_of_shot: RowOfShot
    shared: bool = False
    spare: States | None = None

    @classmethod
    def zero(cls, wire: int, shots: int, dtype: type[np.complexfloating]) -> Ensemble:
        """One wire in |0> for all shots."""
        return cls((wire,), np.array([[1, 0]], dtype=dtype), np.zeros(shots, dtype=np.uint32))

    @property
    def rows(self) -> int:
        """Number of distinct histories."""
        return int(self.states.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of rows and row_of_shot."""
        return int(self.states.nbytes + self.row_of_shot.nbytes)

    def size(self, qubits: int, rows: int) -> int:
        """Bytes in memory that so many wires and rows take."""
        return (self.states.itemsize * rows << qubits) + int(self.row_of_shot.nbytes)

    def own(self, room: Room) -> None:
        """Makes the amplitudes this ensemble's own, so that they may be changed."""
        if self.shared:
            room(self.rows)
            self.states = self.states.copy()
            self.row_of_shot = self.row_of_shot.copy()
            self.shared = False

    def position(self, wire: int) -> int:
        """Bit of the amplitude index that belongs to a wire."""
        return self.wires.index(wire)

    def split(self, labels: NDArray[np.integer], count: int, room: Room) -> NDArray[np.int64]:
        """Splits rows so that all shots of a row carry one label (0 to count - 1); returns the label of each row."""
        parts = split_rows(self.row_of_shot, self.rows, labels, count)
        if parts.origin is not None:
            room(len(parts.origin))
            self._grow(parts.origin[self.rows :])
        elif self.shared:
            self.own(room)
        self.row_of_shot = parts.row_of_shot
        return parts.labels

    def _grow(self, origin: NDArray[np.int64]) -> None:
        """Adds copies of rows behind the others; the array doubles when it is full, pages that nobody wrote cost nothing."""
        rows, needed = self.rows, self.rows + len(origin)
        if self.spare is None or self.shared or len(self.spare) < needed:
            self.spare = np.empty((max(needed, 2 * rows), self.states.shape[1]), dtype=self.states.dtype)
            self.spare[:rows] = self.states
        self.spare[rows:needed] = self.states[origin]
        self.states = self.spare[:needed]
        self.shared = False

    def merge(self, other: Ensemble, room: Room) -> Ensemble:
        """Product with another component: shot s belongs with shot s; rows are the distinct pairs."""
        if self.rows == 1 and other.rows == 1:
            room(1)
            left, right = self.states, other.states
            row_of_shot = np.zeros_like(self.row_of_shot)
        else:
            pairs = self.row_of_shot.astype(np.int64) * other.rows + other.row_of_shot
            distinct, inverse = np.unique(pairs, return_inverse=True)
            room(len(distinct))
            left, right = self.states[distinct // other.rows], other.states[distinct % other.rows]
            row_of_shot = inverse.astype(np.uint32)
        product = (right[:, :, None] * left[:, None, :]).reshape(len(left), -1)
        return Ensemble(self.wires + other.wires, product, row_of_shot)

    def compact(self) -> None:
        """Drops rows that no shot uses any more."""
        used = np.unique(self.row_of_shot)
        if len(used) < self.rows:
            self.states, self.spare = self.states[used], None
            self.row_of_shot = np.searchsorted(used, self.row_of_shot).astype(np.uint32)
            self.shared = False

    def apply_pauli(self, position: int, letter: int, rows: NDArray[np.intp]) -> None:
        """X (1), Y (2) or Z (3) on some rows."""
        kernels.apply_pauli(self.states, position, letter, rows)

    def damp(self, position: int, damping: float, rows: NDArray[np.intp]) -> None:
        """Amplitude damping without a relaxation on some rows."""
        if len(rows) == self.rows:
            kernels.damp(self.states, position, damping)
            return
        part = self.states[rows]
        kernels.damp(part, position, damping)
        self.states[rows] = part

    def zero_probability(self, positions: Sequence[int], pauli: Sequence[int]) -> NDArray[np.float64]:
        """P(eigenvalue +1) of a Pauli product for each row: shape (R,)."""
        if tuple(pauli) == (_Z,):
            return kernels.zero_probability(self.states, positions[0])
        return kernels.pauli_zero_probability(self.states, positions, pauli)

    def project(
        self, positions: Sequence[int], pauli: Sequence[int], bits: Bits, rows: NDArray[np.intp] | None = None
    ) -> None:
        """Projects some rows (None: all) on the eigenvalue +1 (bit 0) or -1 of a Pauli product and normalises them."""
        part = self.states if rows is None else self.states[rows]
        if tuple(pauli) == (_Z,):
            kernels.project(part, positions[0], bits)
        else:
            kernels.project_pauli(part, positions, pauli, np.where(bits, -1.0, 1.0))
        if rows is not None:
            self.states[rows] = part

    def read(self, wires: Sequence[int], uniforms: Sequence[Uniforms]) -> list[Bits]:
        """Draws the bits of wires in the given order for each shot; the component does not collapse."""
        return readout.read(self.states, self.row_of_shot, [self.position(wire) for wire in wires], uniforms)

    def parts(self) -> list[memoryview]:
        """What travels: the rows, and the row of each shot."""
        return [self.states.data, self.row_of_shot.data]

    def digest(self) -> bytes:
        """SHA-256 over the rows and row_of_shot as they travel."""
        value = hashlib.sha256(np.ascontiguousarray(self.states).data)
        value.update(np.ascontiguousarray(self.row_of_shot).data)
        return value.digest()

    def freeze(self) -> None:
        """Makes the arrays read-only: a version is immutable."""
        self.states = np.ascontiguousarray(self.states)
        self.row_of_shot = np.ascontiguousarray(self.row_of_shot)
        self.states.flags.writeable = False
        self.row_of_shot.flags.writeable = False
        self.shared = True

    def borrowed(self) -> Ensemble:
        """The same arrays, to be copied before the first change."""
        return Ensemble(self.wires, self.states, self.row_of_shot, shared=True)
