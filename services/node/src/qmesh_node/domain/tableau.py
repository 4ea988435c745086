"""A component as a stabilizer state: one tableau for all histories, which differ in the signs of their stabilizers only.

Holds as long as every shot sees the same Clifford gates and measures the same Pauli products; Pauli errors, conditioned Pauli
gates and outcomes change signs. Reference: Aaronson, Gottesman, PRA 70 (2004) 052328.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.cliffords import Conjugation
from qmesh_node.domain.ensemble import Ensemble, Room, RowOfShot, split_rows
from qmesh_node.domain.randomness import Uniforms, outcomes

Bits = NDArray[np.bool_]


MAX_STABILIZER = 1024
"""Qubits of the widest stabilizer component."""


def tableau_bytes(qubits: int, rows: int) -> int:
    """Bytes of a tableau with the signs of its rows in memory: one for each bit."""
    return 4 * qubits**2 + qubits + rows * qubits


def packed_bytes(qubits: int, rows: int) -> int:
    """Bytes of a tableau with the signs of its rows, as it travels."""
    return (tableau_bytes(qubits, rows) + 7) // 8


@dataclass(slots=True)
class Tableau:
    """Generators over `wires`: the first n of the 2n are destabilizers, whose signs do not matter.

    Attributes:
        wires: n wires.
        x: letters of the generators, shape (n, 2n), by wire first.
        z: the same for Z.
        signs: signs of the stabilizers that all histories share, shape (n,).
        flips: in which of them each history differs, shape (R, n).
        row_of_shot: history of each shot, shape (S,).
        shared: it came from the store and is copied before the first change.
    """

    wires: tuple[int, ...]
    x: Bits
    z: Bits
    signs: Bits
    flips: Bits
    row_of_shot: RowOfShot
    shared: bool = False

    @classmethod
    def zero(cls, wire: int, shots: int) -> Tableau:
        """One wire in |0> for all shots."""
        x, z = np.array([[True, False]]), np.array([[False, True]])
        flips = np.zeros((1, 1), dtype=np.bool_)
        return cls((wire,), x, z, flips[0].copy(), flips, np.zeros(shots, dtype=np.uint32))

    @property
    def rows(self) -> int:
        """Number of distinct histories."""
        return len(self.flips)

    @property
    def nbytes(self) -> int:
        """Bytes as it travels."""
        return packed_bytes(len(self.wires), self.rows) + int(self.row_of_shot.nbytes)

    def size(self, qubits: int, rows: int) -> int:
        """Bytes in memory that so many wires and rows take."""
        return tableau_bytes(qubits, rows) + int(self.row_of_shot.nbytes)

    def position(self, wire: int) -> int:
        """Place of a wire among the wires."""
        return self.wires.index(wire)

    def own(self, room: Room) -> None:
        """Makes the arrays this component's own, so that they may be changed."""
        if self.shared:
            room(self.rows)
            self.x, self.z, self.signs = self.x.copy(), self.z.copy(), self.signs.copy()
            self.flips, self.row_of_shot = self.flips.copy(), self.row_of_shot.copy()
            self.shared = False

    def split(self, labels: NDArray[np.integer], count: int, room: Room) -> NDArray[np.int64]:
        """Splits rows so that all shots of a row carry one label (0 to count - 1); returns the label of each row."""
        parts = split_rows(self.row_of_shot, self.rows, labels, count)
        if parts.origin is not None:
            room(len(parts.origin))
            self.own(lambda _rows: None)
            self.flips, self.row_of_shot = self.flips[parts.origin], parts.row_of_shot
        return parts.labels

    def merge(self, other: Tableau, room: Room) -> Tableau:
        """Product with another component: shot s belongs with shot s; rows are the distinct pairs."""
        pairs = self.row_of_shot.astype(np.int64) * other.rows + other.row_of_shot
        distinct, inverse = np.unique(pairs, return_inverse=True)
        room(len(distinct))
        a, b = len(self.wires), len(other.wires)
        x, z = np.zeros((2, a + b, 2 * (a + b)), dtype=np.bool_)
        columns = np.r_[:a, a + b : 2 * a + b], np.r_[a : a + b, 2 * a + b : 2 * (a + b)]
        x[:a, columns[0]], z[:a, columns[0]] = self.x, self.z
        x[a:, columns[1]], z[a:, columns[1]] = other.x, other.z
        flips = np.concatenate(
            [self.flips[distinct // other.rows], other.flips[distinct % other.rows]], axis=1
        )
        signs = np.concatenate([self.signs, other.signs])
        return Tableau(self.wires + other.wires, x, z, signs, flips, inverse.astype(np.uint32))

    def compact(self) -> None:
        """Drops rows that no shot uses any more."""
        used = np.unique(self.row_of_shot)
        if len(used) < self.rows:
            self.flips = self.flips[used]
            self.row_of_shot = np.searchsorted(used, self.row_of_shot).astype(np.uint32)

    def conjugate(self, positions: Sequence[int], gate: Conjugation) -> None:
        """A Clifford gate on all rows."""
        n, places = len(self.wires), list(positions)
        letters = np.zeros(2 * n, dtype=np.uint8)
        for k, part in enumerate([self.x[p] for p in places] + [self.z[p] for p in places]):
            letters |= part.view(np.uint8) << np.uint8(k)
        self.signs ^= gate.minus[letters[n:]]
        made = gate.letters[letters]
        for k, position in enumerate(places):
            self.x[position] = made >> k & 1
            self.z[position] = made >> (len(places) + k) & 1

    def apply_pauli(self, position: int, letter: int, rows: NDArray[np.intp]) -> None:
        """X (1), Y (2) or Z (3) on some rows: it flips the stabilizers that it does not commute with."""
        n = len(self.wires)
        changed = np.zeros(n, dtype=np.bool_)
        if letter in {1, 2}:
            changed ^= self.z[position, n:]
        if letter in {2, 3}:
            changed ^= self.x[position, n:]
        self.flips[rows] ^= changed

    def _crossed(self, positions: Sequence[int], pauli: Sequence[int]) -> Bits:
        """Generators that do not commute with a Pauli product: shape (2n,)."""
        crossed = np.zeros(2 * len(self.wires), dtype=np.bool_)
        for position, letter in zip(positions, pauli, strict=True):
            if letter in {1, 2}:
                crossed ^= self.z[position]
            if letter in {2, 3}:
                crossed ^= self.x[position]
        return crossed

    def zero_probability(self, positions: Sequence[int], pauli: Sequence[int]) -> NDArray[np.float64]:
        """P(eigenvalue +1) of a Pauli product for each row: 0, 1/2 or 1."""
        n, crossed = len(self.wires), self._crossed(positions, pauli)
        if crossed[n:].any():
            return np.full(self.rows, 0.5)
        minus, flips, _ = self._product(crossed[:n])
        return np.where(flips ^ minus, 0.0, 1.0)

    def _product(self, chosen: Bits) -> tuple[bool, Bits, NDArray[np.intp]]:
        """Product of some stabilizers: its shared sign, in which rows it differs, and their places."""
        places = np.flatnonzero(chosen)
        x, z = self.x[:, len(chosen) + places], self.z[:, len(chosen) + places]
        before = np.logical_xor.accumulate(z, axis=1) ^ z
        quarter = int((x & z).sum()) + 2 * int((before & x).sum())
        quarter -= int((np.logical_xor.reduce(x, axis=1) & np.logical_xor.reduce(z, axis=1)).sum())
        minus = bool((quarter // 2 + int(self.signs[places].sum())) % 2)
        return minus, np.logical_xor.reduce(self.flips[:, places], axis=1), places

    def project(self, positions: Sequence[int], pauli: Sequence[int], bits: Bits) -> None:
        """Projects each row on the eigenvalue +1 (bit 0) or -1 of a Pauli product; impossible bits are the caller's fault."""
        pivot = self._collapse(positions, pauli)
        if pivot >= 0:
            self.flips[:, pivot] = bits

    def _collapse(self, positions: Sequence[int], pauli: Sequence[int]) -> int:
        """Makes a Pauli product a stabilizer with sign + in all rows; its place, or -1 when it, or its negative, is one."""
        n, crossed = len(self.wires), self._crossed(positions, pauli)
        found = np.flatnonzero(crossed[n:])
        if not len(found):
            return -1
        pivot = int(found[0])
        px, pz = self.x[:, n + pivot].copy(), self.z[:, n + pivot].copy()
        crossed[[pivot, n + pivot]] = False
        places = np.flatnonzero(crossed)
        x, z = self.x[:, places], self.z[:, places]
        stabilizers = places[places >= n] - n
        xs, zs = x[:, places >= n], z[:, places >= n]
        quarter = (xs & zs).sum(axis=0) + int((px & pz).sum()) + 2 * (zs & px[:, None]).sum(axis=0)
        quarter -= ((xs ^ px[:, None]) & (zs ^ pz[:, None])).sum(axis=0)
        self.signs[stabilizers] ^= (quarter // 2 % 2).astype(np.bool_) ^ self.signs[pivot]
        self.flips[:, stabilizers] ^= self.flips[:, [pivot]]
        self.x[:, places], self.z[:, places] = x ^ px[:, None], z ^ pz[:, None]
        self.x[:, pivot], self.z[:, pivot] = px, pz
        self.x[:, n + pivot] = self.z[:, n + pivot] = False
        for position, letter in zip(positions, pauli, strict=True):
            self.x[position, n + pivot], self.z[position, n + pivot] = letter in {1, 2}, letter in {2, 3}
        self.signs[pivot] = False
        self.flips[:, pivot] = False
        return pivot

    def read(self, wires: Sequence[int], uniforms: Sequence[Uniforms]) -> list[Bits]:
        """Draws the bits of wires in the given order for each shot; the component does not collapse.

        Each stabilizer's sign is followed as a sum of the bits that were drawn before it was made.
        """
        work = Tableau(
            self.wires, self.x.copy(), self.z.copy(), self.signs.copy(), self.flips.copy(), self.row_of_shot
        )
        n = len(wires)
        drawn = np.zeros((len(self.wires), n), dtype=np.bool_)
        columns: list[Bits] = []
        for number, (wire, u) in enumerate(zip(wires, uniforms, strict=True)):
            position = work.position(wire)
            crossed = work.x[position]
            half = len(work.wires)
            if crossed[half:].any():
                others = np.flatnonzero(crossed[half:])
                drawn[others[1:]] ^= drawn[others[0]]
                pivot = work._collapse([position], [3])
                drawn[pivot] = False
                drawn[pivot, number] = True
                columns.append(outcomes(u, np.full(len(u), 0.5)))
                continue
            minus, flips, places = work._product(crossed[:half])
            bits = (flips ^ minus)[self.row_of_shot]
            for earlier in np.flatnonzero(np.logical_xor.reduce(drawn[places], axis=0)):
                bits = bits ^ columns[earlier]
            columns.append(outcomes(u, np.where(bits, 0.0, 1.0)))
        return columns

    def packed(self) -> NDArray[np.uint8]:
        """Generators and signs as they travel: bits of x, z, signs and flips, least significant first."""
        parts = [self.x.ravel(), self.z.ravel(), self.signs, self.flips.ravel()]
        return np.packbits(np.concatenate(parts), bitorder="little")

    def parts(self) -> list[memoryview]:
        """What travels: the packed rows, and the row of each shot."""
        return [self.packed().data, self.row_of_shot.data]

    def digest(self) -> bytes:
        """SHA-256 over what travels."""
        value = hashlib.sha256(self.packed().data)
        value.update(np.ascontiguousarray(self.row_of_shot).data)
        return value.digest()

    def freeze(self) -> None:
        """Makes the arrays read-only: a version is immutable."""
        for array in (self.x, self.z, self.signs, self.flips, self.row_of_shot):
            array.flags.writeable = False
        self.shared = True

    def borrowed(self) -> Tableau:
        """The same arrays, to be copied before the first change."""
        return Tableau(self.wires, self.x, self.z, self.signs, self.flips, self.row_of_shot, shared=True)


Part = Ensemble | Tableau
"""One component, however it is stored."""


def unpacked(wires: tuple[int, ...], rows: int, data: NDArray[np.uint8], row_of_shot: RowOfShot) -> Tableau:
    """The inverse of `packed`.

    Raises:
        ValueError: the generators are none of a stabilizer state.
    """
    n = len(wires)
    bits = np.unpackbits(data, count=tableau_bytes(n, rows), bitorder="little").astype(np.bool_)
    x, z, rest = (
        bits[: 2 * n**2].reshape(n, 2 * n),
        bits[2 * n**2 : 4 * n**2].reshape(n, 2 * n),
        bits[4 * n**2 :],
    )
    crossed = (x.T.astype(np.float32) @ z.astype(np.float32)).astype(np.int64) & 1
    wanted = np.roll(np.eye(2 * n, dtype=np.int64), n, axis=0)
    if not np.array_equal(crossed ^ crossed.T, wanted):
        raise ValueError("the generators do not pair up")
    return Tableau(wires, x, z, rest[:n], rest[n:].reshape(rows, n), row_of_shot, shared=True)
