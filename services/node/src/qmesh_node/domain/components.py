"""The live components of one block: which wire belongs to which, and every change that may need memory.

Gates on all shots of an ensemble wait until somebody looks at it, so that a run of them costs one pass over its memory. A
stabilizer component becomes an ensemble when something happens to it that only amplitudes can express.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain import kernels
from qmesh_node.domain.bits import Column
from qmesh_node.domain.cliffords import conjugation_of
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, InvalidBlockError
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.forms import Matrix
from qmesh_node.domain.memory import Workspace
from qmesh_node.domain.randomness import Uniforms
from qmesh_node.domain.sweeps import Run
from qmesh_node.domain.syndrome import Pauli
from qmesh_node.domain.tableau import MAX_STABILIZER, Part, Tableau

MAX_DENSE = 24
_LONGEST = 1 << 27
"""Amplitudes that the gates of one run change: about half a second, after which the deadline is looked at again."""
_Z = (3,)


@dataclass(slots=True)
class _Waiting:
    """Gates of one component that wait, and the fragments that they belong to."""

    run: Run = field(default_factory=Run)
    fragments: set[int] = field(default_factory=set)


class Components:
    """Components by wire; those that meet are merged. In the workspace a component has the name of its least wire."""

    def __init__(
        self, workspace: Workspace, dense_limit: int, dtype: type[np.complexfloating] = np.complex128
    ) -> None:
        """Takes the room that there is, and the type of amplitudes; wires follow."""
        self._workspace = workspace
        self._dense_limit = min(dense_limit, MAX_DENSE)
        self._dtype = dtype
        self._of_wire: dict[int, Part] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._settled: set[int] = set()

    def settled(self) -> set[int]:
        """Fragments whose last gate has happened since this was asked before."""
        settled, self._settled = self._settled, set()
        return settled

    def add(self, component: Part) -> None:
        """Takes an input version in."""
        self._check_width(len(component.wires), dense=isinstance(component, Ensemble))
        for wire in component.wires:
            if wire in self._of_wire:
                raise InvalidBlockError(f"wire {wire} comes from more than one place")
            self._of_wire[wire] = component

    def begin(self, wire: int, shots: int, *, stabilizer: bool) -> None:
        """Begins a wire in |0>."""
        if wire in self._of_wire:
            raise InvalidBlockError(f"wire {wire} is both fresh and there already")
        self._workspace.resize(wire, 2 * np.dtype(self._dtype).itemsize + 4 * shots)
        self._of_wire[wire] = (
            Tableau.zero(wire, shots) if stabilizer else Ensemble.zero(wire, shots, self._dtype)
        )

    def of(self, wires: Sequence[int]) -> Part:
        """The component of the wires, merged where they were apart."""
        return self._settle(self._joined(wires))

    def find(self, wire: int) -> Part:
        """The component of one wire."""
        return self._settle(self._found(wire))

    def _found(self, wire: int) -> Part:
        component = self._of_wire.get(wire)
        if component is None:
            raise InvalidBlockError(f"wire {wire} is neither fresh nor part of an input")
        return component

    def _settle(self, component: Part) -> Part:
        """Lets the gates happen that wait."""
        waiting = self._waiting.pop(id(component), None)
        if waiting is not None and isinstance(component, Ensemble):
            waiting.run.apply(component.states)
            self._settled |= waiting.fragments
        return component

    def _joined(self, wires: Sequence[int]) -> Part:
        component = self._found(wires[0])
        for wire in wires[1:]:
            part = self._found(wire)
            if part is not component:
                component = self._merged(component, part)
        return component

    def _merged(self, one: Part, other: Part) -> Part:
        dense = isinstance(one, Ensemble) or isinstance(other, Ensemble)
        qubits = len(one.wires) + len(other.wires)
        self._check_width(qubits, dense=dense)
        made: Part
        if isinstance(one, Tableau) and isinstance(other, Tableau):
            made = one.merge(other, partial(self._merging, one, other, one.size))
        else:
            left, right = self._dense(self._settle(one)), self._dense(self._settle(other))
            made = left.merge(right, partial(self._merging, left, right, left.size))
        for wire in made.wires:
            self._of_wire[wire] = made
        return made

    def _dense(self, component: Part) -> Ensemble:
        """A component as an ensemble."""
        if isinstance(component, Ensemble):
            return component
        width = len(component.wires)
        self._check_width(width, dense=True)
        size = (np.dtype(self._dtype).itemsize * component.rows << width) + component.row_of_shot.nbytes
        self._workspace.resize(min(component.wires), size)
        made = expanded(component, self._dtype)
        for wire in made.wires:
            self._of_wire[wire] = made
        return made

    def _check_width(self, qubits: int, *, dense: bool) -> None:
        if dense and qubits > self._dense_limit:
            raise ExhaustedError(
                f"a component of {qubits} qubits is above this node's dense limit of {self._dense_limit}"
            )
        if qubits > MAX_STABILIZER:
            raise ExhaustedError(f"a component of {qubits} qubits is above the limit of {MAX_STABILIZER}")

    def _merging(self, one: Part, other: Part, size: Callable[[int, int], int], rows: int) -> None:
        first, second = sorted((min(one.wires), min(other.wires)))
        self._workspace.resize(first, size(len(one.wires) + len(other.wires), rows), (second,))

    def _growing(self, component: Part, rows: int) -> None:
        self._workspace.resize(min(component.wires), component.size(len(component.wires), rows))

    def split(self, component: Part, labels: NDArray[np.integer], count: int) -> NDArray[np.int64]:
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
        if isinstance(component, Tableau) and self._conjugated(component, wires, matrix, active):
            return
        ensemble = self._dense(component)
        positions = [ensemble.position(wire) for wire in wires]
        if active is not None:
            self._settle(ensemble)
            rows = np.flatnonzero(self.split(ensemble, active.astype(np.int64), 2))
            kernels.apply_matrix(ensemble.states, positions, matrix, rows)
            return
        ensemble.own(partial(self._growing, ensemble))
        waiting = self._waiting.setdefault(id(ensemble), _Waiting())
        waiting.run.add(matrix, positions)
        waiting.fragments.add(fragment)
        if len(waiting.run) * ensemble.states.size > _LONGEST:
            self._settle(ensemble)

    def _conjugated(
        self, component: Tableau, wires: Sequence[int], matrix: Matrix, active: Column | None
    ) -> bool:
        """A Clifford gate, where all histories have the same generators afterwards, too; whether that was so."""
        gate = conjugation_of(matrix)
        if gate is None or (active is not None and not gate.is_pauli):
            return False
        if active is None:
            component.own(partial(self._growing, component))
            component.conjugate([component.position(wire) for wire in wires], gate)
            return True
        for wire, letter in zip(wires, gate.pauli(), strict=True):
            self.apply_pauli(wire, np.where(active, letter, 0))
        return True

    def apply_pauli(self, wire: int, letters: NDArray[np.int64]) -> None:
        """Applies to each shot the Pauli of its letter: 0 none, 1 X, 2 Y, 3 Z."""
        if letters.any():
            component = self.find(wire)
            row_letters = self.split(component, letters, 4)
            for letter in (1, 2, 3):
                rows = np.flatnonzero(row_letters == letter)
                component.apply_pauli(component.position(wire), letter, rows)

    def apply_paulis(self, wires: Sequence[int], labels: NDArray[np.int64]) -> None:
        """Applies Pauli strings, base 4 with the first wire least significant; the wires may be of several components."""
        for index, wire in enumerate(wires):
            self.apply_pauli(wire, labels >> (2 * index) & 3)

    def relax(self, wire: int, damping: float, uniforms: Uniforms) -> Column:
        """Amplitude damping of a wire of an ensemble, a trajectory for each shot; returns which shots relaxed."""
        ensemble = self._dense(self.find(wire))
        position = ensemble.position(wire)
        ones = 1.0 - ensemble.zero_probability((position,), _Z)
        relaxed: Column = uniforms < damping * ones[ensemble.row_of_shot]
        labels = self.split(ensemble, relaxed.astype(np.int64), 2)
        ensemble.damp(position, damping, np.flatnonzero(labels == 0))
        fallen = np.flatnonzero(labels == 1)
        if len(fallen):
            ensemble.project((position,), _Z, np.ones(len(fallen), dtype=np.bool_), fallen)
            ensemble.apply_pauli(position, 1, fallen)
        return relaxed

    def is_stabilizer(self, wire: int) -> bool:
        """Whether a wire's component is a stabilizer state now."""
        return isinstance(self._found(wire), Tableau)

    def zero_probability(self, wires: Sequence[int], pauli: Pauli = _Z) -> NDArray[np.float64]:
        """P(eigenvalue +1) of a Pauli product for each shot; of one Z, P(0)."""
        component = self.of(wires)
        positions = [component.position(wire) for wire in wires]
        return component.zero_probability(positions, pauli)[component.row_of_shot]

    def collapse(self, wires: Sequence[int], bits: Column, active: Column | None, pauli: Pauli = _Z) -> None:
        """Projects the active shots on the eigenvalue +1 (bit 0) or -1 (bit 1) of a Pauli product."""
        component = self.of(wires)
        if isinstance(component, Tableau) and active is None:
            row_labels = self.split(component, bits.astype(np.int64), 2)
            component.project([component.position(wire) for wire in wires], pauli, row_labels == 1)
            return
        ensemble = self._dense(component)
        labels = bits.astype(np.int64) if active is None else np.where(active, bits, 2)
        row_labels = self.split(ensemble, labels, 3)
        positions = [ensemble.position(wire) for wire in wires]
        if active is None:
            ensemble.project(positions, pauli, row_labels == 1)
            return
        chosen = np.flatnonzero(row_labels < 2)  # noqa: PLR2004 - label 2 marks shots that are not measured
        if len(chosen):
            ensemble.project(positions, pauli, row_labels[chosen] == 1, chosen)

    @property
    def stabilizer(self) -> bool:
        """Whether every component is a stabilizer state now."""
        return all(isinstance(component, Tableau) for component in self._of_wire.values())

    def made(self, wires: Iterable[int]) -> Part | None:
        """The component that covers exactly these wires, if there is one."""
        wanted = set(wires)
        component = self._of_wire.get(next(iter(wanted), -1))
        if component is None or set(component.wires) != wanted:
            return None
        return self._settle(component)
