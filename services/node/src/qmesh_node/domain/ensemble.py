"""A component as an ensemble: one row of amplitudes for each distinct history, and the row of each shot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.sweeps import States

RowOfShot = NDArray[np.uint32]
Room = Callable[[int], None]
"""Told how many rows are about to be allocated; raises when they do not fit."""


@dataclass(slots=True)
class Ensemble:
    """`states[R, 2^n]` little-endian over `wires`, and `row_of_shot[S]`.

    An ensemble that came from the store is shared and read-only: `own()` copies it before the first change.
    """

    wires: tuple[int, ...]
    states: States
    row_of_shot: RowOfShot
    shared: bool = False

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
        if (labels == labels[0]).all():
            return np.full(self.rows, labels[0], dtype=np.int64)
        pairs = self.row_of_shot.astype(np.int64) * count + labels
        distinct, inverse = np.unique(pairs, return_inverse=True)
        room(len(distinct))
        self.states = self.states[distinct // count]
        self.row_of_shot = inverse.astype(np.uint32)
        self.shared = False
        result: NDArray[np.int64] = distinct % count
        return result

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
            self.states = self.states[used]
            self.row_of_shot = np.searchsorted(used, self.row_of_shot).astype(np.uint32)
            self.shared = False

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
