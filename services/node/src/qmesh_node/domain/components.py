"""The live components of one block: which wire belongs to which, and every change that may need memory.

Gates on all shots wait until somebody looks at their component, so that a run of them costs one pass over its memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain import kernels
from qmesh_node.domain.bits import Column
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, InvalidBlockError
from qmesh_node.domain.forms import Matrix
from qmesh_node.domain.memory import Workspace
from qmesh_node.domain.sweeps import Run
from qmesh_node.domain.syndrome import Pauli

MAX_DENSE = 24
_LONGEST = 1 << 27
"""Amplitudes that the gates of one run change: about half a second, after which the deadline is looked at again."""


@dataclass(slots=True)
class _Waiting:
    """Gates of one component that wait, and the fragments that they belong to."""

    run: Run = field(default_factory=Run)
    fragments: set[int] = field(default_factory=set)


class Components:
    """Ensembles by wire; components that meet are merged. In the workspace a component has the name of its least wire."""

    def __init__(self, workspace: Workspace, dense_limit: int) -> None:
        """Takes the room that there is; wires follow."""
        self._workspace = workspace
        self._dense_limit = min(dense_limit, MAX_DENSE)
        self._of_wire: dict[int, Ensemble] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._settled: set[int] = set()

    def settled(self) -> set[int]:
        """Fragments whose last gate has happened since this was asked before."""
        settled, self._settled = self._settled, set()
        return settled

    def _settle(self, component: Ensemble) -> Ensemble:
        """Lets the gates happen that wait."""
        waiting = self._waiting.pop(id(component), None)
        if waiting is not None:
            waiting.run.apply(component.states)
            self._settled |= waiting.fragments
        return component

    def add(self, ensemble: Ensemble) -> None:
        """Takes an input version in."""
        self._check_width(len(ensemble.wires))
        for wire in ensemble.wires:
            if wire in self._of_wire:
                raise InvalidBlockError(f"wire {wire} comes from more than one place")
            self._of_wire[wire] = ensemble

    def begin(self, wire: int, shots: int, dtype: type[np.complexfloating]) -> None:
        """Begins a wire in |0>."""
        if wire in self._of_wire:
            raise InvalidBlockError(f"wire {wire} is both fresh and there already")
        self._workspace.resize(wire, 2 * np.dtype(dtype).itemsize + 4 * shots)
        self._of_wire[wire] = Ensemble.zero(wire, shots, dtype)

    def of(self, wires: Sequence[int]) -> Ensemble:
        """The component of the wires, merged where they were apart."""
        return self._settle(self._joined(wires))

    def find(self, wire: int) -> Ensemble:
        """The component of one wire."""
        return self._settle(self._found(wire))

    def _joined(self, wires: Sequence[int]) -> Ensemble:
        component = self._found(wires[0])
        for wire in wires[1:]:
            part = self._found(wire)
            if part is component:
                continue
            self._settle(component)
            self._settle(part)
            self._check_width(len(component.wires) + len(part.wires))
            room = partial(self._merging, component, part)
            component = component.merge(part, room)
            for each in component.wires:
                self._of_wire[each] = component
        return component

    def _found(self, wire: int) -> Ensemble:
        component = self._of_wire.get(wire)
        if component is None:
            raise InvalidBlockError(f"wire {wire} is neither fresh nor part of an input")
        return component

    def _check_width(self, qubits: int) -> None:
        if qubits > self._dense_limit:
            raise ExhaustedError(
                f"a component of {qubits} qubits is above this node's dense limit of {self._dense_limit}"
            )

    @staticmethod
    def _size(component: Ensemble, qubits: int, rows: int) -> int:
        return (component.states.itemsize * rows << qubits) + component.row_of_shot.nbytes

    def _merging(self, one: Ensemble, other: Ensemble, rows: int) -> None:
        size = self._size(one, len(one.wires) + len(other.wires), rows)
        first, second = sorted((min(one.wires), min(other.wires)))
        self._workspace.resize(first, size, (second,))

    def _growing(self, component: Ensemble, rows: int) -> None:
        self._workspace.resize(min(component.wires), self._size(component, len(component.wires), rows))

    def split(self, component: Ensemble, labels: NDArray[np.integer], count: int) -> NDArray[np.int64]:
        """Splits rows by the labels of their shots, ready to be changed; returns the label of each row."""
        room = partial(self._growing, component)
        result = component.split(labels, count, room)
        component.own(room)
        return result

    def apply(
        self, wires: Sequence[int], matrix: Matrix, active: Column | None = None, fragment: int = 0
    ) -> None:
        """Applies a matrix to the active shots; None means all."""
        component = self._joined(wires)
        positions = [component.position(wire) for wire in wires]
        if active is not None:
            self._settle(component)
            rows = np.flatnonzero(self.split(component, active.astype(np.int64), 2))
            kernels.apply_matrix(component.states, positions, matrix, rows)
            return
        component.own(partial(self._growing, component))
        waiting = self._waiting.setdefault(id(component), _Waiting())
        waiting.run.add(matrix, positions)
        waiting.fragments.add(fragment)
        if len(waiting.run) * component.states.size > _LONGEST:
            self._settle(component)

    def apply_pauli(self, wire: int, letters: NDArray[np.int64]) -> None:
        """Applies to each shot the Pauli of its letter: 0 none, 1 X, 2 Y, 3 Z."""
        if letters.any():
            component = self.find(wire)
            row_letters = self.split(component, letters, 4)
            for letter in (1, 2, 3):
                rows = np.flatnonzero(row_letters == letter)
                kernels.apply_pauli(component.states, component.position(wire), letter, rows)

    def apply_paulis(self, wires: Sequence[int], labels: NDArray[np.int64]) -> None:
        """Applies Pauli strings, base 4 with the first wire least significant; the wires may be of several components."""
        for index, wire in enumerate(wires):
            self.apply_pauli(wire, labels >> (2 * index) & 3)

    def zero_probability(self, wire: int) -> NDArray[np.float64]:
        """P(0) of a wire for each shot."""
        component = self.find(wire)
        position = component.position(wire)
        return kernels.zero_probability(component.states, position)[component.row_of_shot]

    def collapse(self, wire: int, bits: Column, active: Column | None) -> None:
        """Projects the active shots on their bits."""
        component = self.find(wire)
        position = component.position(wire)
        row_labels = self.split(component, _labels(bits, active), 3)
        if active is None:
            kernels.project(component.states, position, row_labels == 1)
            return
        chosen = np.flatnonzero(row_labels < 2)  # noqa: PLR2004 - label 2 marks shots that are not measured
        if len(chosen):
            part = component.states[chosen]
            kernels.project(part, position, row_labels[chosen] == 1)
            component.states[chosen] = part

    def pauli_zero_probability(self, wires: Sequence[int], pauli: Pauli) -> NDArray[np.float64]:
        """P(eigenvalue +1) of a Pauli product for each shot."""
        component = self.of(wires)
        positions = [component.position(wire) for wire in wires]
        return kernels.pauli_zero_probability(component.states, positions, pauli)[component.row_of_shot]

    def collapse_pauli(self, wires: Sequence[int], pauli: Pauli, bits: Column, active: Column | None) -> None:
        """Projects the active shots on the eigenvalue +1 (bit 0) or -1 (bit 1) of a Pauli product."""
        component = self.of(wires)
        row_labels = self.split(component, _labels(bits, active), 3)
        positions = [component.position(wire) for wire in wires]
        sign = np.array([1.0, -1.0, 0.0])[row_labels]
        kernels.project_pauli(component.states, positions, pauli, sign)

    def made(self, wires: Iterable[int]) -> Ensemble | None:
        """The component that covers exactly these wires, if there is one."""
        wanted = set(wires)
        component = self._of_wire.get(next(iter(wanted), -1))
        if component is None or set(component.wires) != wanted:
            return None
        return self._settle(component)


def _labels(bits: Column, active: Column | None) -> NDArray[np.int64]:
    labels = bits.astype(np.int64)
    return labels if active is None else np.where(active, labels, 2)
