"""A stabilizer component as amplitudes, when the first gate comes that is no Clifford gate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.tableau import Tableau

Integers = NDArray[np.int64]


def expanded(tableau: Tableau, dtype: type[np.complexfloating]) -> Ensemble:
    """The same states as rows of amplitudes, up to a phase of each row.

    A basis state that has every Z-like stabilizer's sign is spread by the others, one after another: each doubles the support.
    """
    n, rows = len(tableau.wires), tableau.rows
    masks, minus = _generators(tableau)
    spreading: list[int] = []
    left = list(range(n))
    for bit in range(n):  # X parts to echelon form
        pivot = next((g for g in left if masks[g][0] >> bit & 1), None)
        if pivot is None:
            continue
        left.remove(pivot)
        for g in left:
            if masks[g][0] >> bit & 1:
                _multiply(masks, minus, g, pivot)
        spreading.append(pivot)
    index = np.zeros((rows, 1), dtype=np.int64)
    fixed: list[int] = []
    pivots: dict[int, int] = {}
    for bit in range(n):  # what is left has Z only: reduced to one value of one bit each
        pivot = next((g for g in left if g not in fixed and masks[g][1] >> bit & 1), None)
        if pivot is None:
            continue
        for g in left:
            if g != pivot and masks[g][1] >> bit & 1:
                _multiply(masks, minus, g, pivot)
        fixed.append(pivot)
        pivots[pivot] = bit
    for g, bit in pivots.items():
        index[:, 0] |= minus[g].astype(np.int64) << bit
    amplitudes = np.full((rows, 1), 2.0 ** (-len(spreading) / 2), dtype=dtype)
    for g in spreading:
        x, z = masks[g]
        signs = 1.0 - 2.0 * ((np.bitwise_count(index & z) & 1) ^ minus[g][:, None])
        turned = amplitudes * (signs * 1j ** (x & z).bit_count()).astype(dtype)
        index, amplitudes = (
            np.concatenate([index, index ^ x], axis=1),
            np.concatenate([amplitudes, turned], axis=1),
        )
    states = np.zeros((rows, 1 << n), dtype=dtype)
    np.put_along_axis(states, index, amplitudes, axis=1)
    return Ensemble(tableau.wires, states, tableau.row_of_shot.copy())


def _generators(tableau: Tableau) -> tuple[list[tuple[int, int]], list[NDArray[np.bool_]]]:
    """Masks (x, z) of the stabilizers and their signs in every row."""
    n = len(tableau.wires)
    weights = [1 << k for k in range(n)]
    masks = [
        (
            sum(w for w, bit in zip(weights, tableau.x[:, n + g], strict=True) if bit),
            sum(w for w, bit in zip(weights, tableau.z[:, n + g], strict=True) if bit),
        )
        for g in range(n)
    ]
    return masks, [tableau.flips[:, g] ^ tableau.signs[g] for g in range(n)]


def _multiply(masks: list[tuple[int, int]], minus: list[NDArray[np.bool_]], g: int, by: int) -> None:
    """One stabilizer times another, which commutes with it."""
    (x, z), (u, v) = masks[g], masks[by]
    quarter = (
        (x & z).bit_count() + (u & v).bit_count() + 2 * (z & u).bit_count() - ((x ^ u) & (z ^ v)).bit_count()
    )
    masks[g] = (x ^ u, z ^ v)
    minus[g] = minus[g] ^ minus[by] ^ bool(quarter // 2 % 2)
