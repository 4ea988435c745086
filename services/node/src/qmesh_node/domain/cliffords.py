"""What a Clifford gate does to Pauli strings: looked up, for gates of one and two wires.

A Pauli string is i^(x.z) X^x Z^z with a sign; its letters over k operands are the number x + (z << k).
Reference: Aaronson, Gottesman, PRA 70 (2004) 052328.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.forms import Matrix

WIDEST = 2
_TOLERANCE = 1e-12
_LETTERS = {(False, False): 0, (True, False): 1, (True, True): 2, (False, True): 3}


@dataclass(frozen=True, slots=True)
class Conjugation:
    """U P U^dagger for each P over the operands: the letters of the image, and whether its sign is minus."""

    letters: NDArray[np.uint8]
    minus: NDArray[np.bool_]

    @property
    def is_pauli(self) -> bool:
        """Whether only signs change."""
        return bool((self.letters == np.arange(len(self.letters))).all())

    def pauli(self) -> list[int]:
        """The gate's own letters, when it is a Pauli product: 0 none, 1 X, 2 Y, 3 Z for each operand."""
        width = (len(self.letters).bit_length() - 1) // 2
        flips_x = [bool(self.minus[1 << k]) for k in range(width)]
        flips_z = [bool(self.minus[1 << (width + k)]) for k in range(width)]
        return [_LETTERS[x_part, z_part] for x_part, z_part in zip(flips_z, flips_x, strict=True)]


def _pauli(letters: int, width: int) -> NDArray[np.complex128]:
    made = np.ones((1, 1), dtype=np.complex128)
    for k in range(width):
        x, z = letters >> k & 1, letters >> (width + k) & 1
        one = np.diag([1, 1 - 2 * z]).astype(np.complex128) * (1j if x and z else 1)
        made = np.kron(one[::-1] if x else one, made).astype(np.complex128)
    return made


@lru_cache(maxsize=8)
def _paulis(width: int) -> NDArray[np.complex128]:
    return np.stack([_pauli(letters, width) for letters in range(4**width)])


@lru_cache(maxsize=4096)
def conjugation_of(matrix: Matrix) -> Conjugation | None:
    """The conjugation by a gate; None when it is no Clifford gate of one or two wires."""
    width = len(matrix).bit_length() - 1
    if width > WIDEST:
        return None
    u, paulis = np.array(matrix, dtype=np.complex128), _paulis(width)
    images = np.einsum("ij,pjk,lk->pil", u, paulis, u.conj())
    overlaps = np.einsum("pij,qij->pq", images, paulis.conj()).real / len(u)
    letters = np.abs(overlaps).argmax(axis=1)
    signs = overlaps[np.arange(len(paulis)), letters]
    if (np.abs(np.abs(signs) - 1) > _TOLERANCE).any():
        return None
    return Conjugation(letters.astype(np.uint8), signs < 0)
