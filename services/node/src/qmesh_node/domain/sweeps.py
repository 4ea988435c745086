"""Runs of gates: neighbours on one wire become one gate, and gates that share few wires one pass over memory.

A run is a pure function of its gates: the same gates on the same states make the same bytes on one CPU family. No BLAS is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qmesh_node import native
from qmesh_node.domain.forms import Form, Matrix, form_of, product

States = NDArray[np.complexfloating]
Rows = NDArray[np.int64]

LOCAL = 13
"""Wires of the buffer that a sweep works in: 128 KiB in double precision."""
_INNER = 6
"""Lowest wires that are always local, so that memory is read in runs of 1 KiB."""
_ROW = 9


@dataclass(frozen=True, slots=True)
class _Placed:
    """A form on positions of the amplitude index."""

    form: Form
    positions: tuple[int, ...]


@dataclass(slots=True)
class Run:
    """Gates to be applied to all rows of some states, in order."""

    _gates: list[_Placed] = field(default_factory=list)
    _single: dict[int, Matrix] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of gates that wait."""
        return len(self._gates) + len(self._single)

    def add(self, matrix: Matrix, positions: Sequence[int]) -> None:
        """Appends a gate; its first position is the least significant bit of the matrix index."""
        if len(positions) == 1:
            before = self._single.get(positions[0])
            self._single[positions[0]] = matrix if before is None else product(matrix, before)
            return
        form = form_of(matrix)
        if form is None:
            return
        for position in positions:
            self._close(position)
        self._gates.append(_Placed(form, tuple(positions)))

    def _close(self, position: int) -> None:
        matrix = self._single.pop(position, None)
        form = None if matrix is None else form_of(matrix)
        if form is not None:
            self._gates.append(_Placed(form, (position,)))

    def apply(self, states: States, rows: Rows | None = None) -> None:
        """Applies everything to the rows (None: all) of contiguous states, in place, and is empty then."""
        for position in sorted(self._single):
            self._close(position)
        gates, self._gates = self._gates, []
        n = states.shape[1].bit_length() - 1
        which = np.arange(len(states), dtype=np.int64) if rows is None else rows
        for local, part in _sweeps(gates, n):
            _sweep(states, which, n, local, part)


def _sweeps(gates: list[_Placed], n: int) -> list[tuple[list[int], list[_Placed]]]:
    """Gates in groups with the positions that are local in each; gates change places only where they share no wire."""
    if n <= LOCAL:
        return [(list(range(n)), gates)] if gates else []
    made = []
    while gates:
        local, blocked = set(range(_INNER)), set[int]()
        part: list[_Placed] = []
        left: list[_Placed] = []
        for number, gate in enumerate(gates):
            if len(blocked) == n:
                left += gates[number:]
                break
            if blocked.isdisjoint(gate.positions) and len(local.union(gate.positions)) <= LOCAL:
                local.update(gate.positions)
                part.append(gate)
            else:
                blocked.update(gate.positions)
                left.append(gate)
        made.append((_filled(local, n), part))
        gates = left
    return made


def _filled(local: set[int], n: int) -> list[int]:
    """The local positions, ascending, with the lowest others added: longer runs of memory cost nothing."""
    others = (position for position in range(n) if position not in local)
    while len(local) < LOCAL:
        local.add(next(others))
    return sorted(local)


def _sweep(states: States, rows: Rows, n: int, local: list[int], gates: list[_Placed]) -> None:
    inner = next((k for k, position in enumerate(local) if k != position), len(local))
    offsets = np.zeros(1, dtype=np.int64)
    for position in local[inner:]:
        offsets = np.concatenate([offsets, offsets + (1 << position)])
    outer = (1 << n) - 1 - sum(1 << position for position in local)
    bit = {position: 1 << k for k, position in enumerate(local)}
    table = np.zeros((len(gates), _ROW), dtype=np.int64)
    factors: list[float] = []
    for row, gate in zip(table, gates, strict=True):
        form, positions = gate.form, gate.positions
        targets = [bit[positions[k]] for k in form.targets]
        control = sum(bit[positions[k]] for k in form.controls)
        row[: 4 + len(targets)] = [form.kind, control, len(targets), len(factors), *targets]
        factors += form.factors
    real = states.real.dtype
    room = np.empty(2 << len(local), dtype=real)
    native.sweep(states, rows, inner, offsets, outer, table, np.array(factors, dtype=real), room)
