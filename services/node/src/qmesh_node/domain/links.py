"""Errors of the pairs that carry remote operations: drawn once for a pair, at its first operation, and correlated over its packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.pairs import PauliWeights
from qmesh_model.randomness import Purpose
from qmesh_model.reach import X_AXIS, Y_AXIS, Z_AXIS, Axis, Reach, axis_matrix, copy_errors, reaches
from qmesh_node.domain.bits import Column
from qmesh_node.domain.components import Components
from qmesh_node.domain.noise import letters_of
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tally import FragmentTally

Letters = NDArray[np.int64]
_X, _Y, _Z = 1, 2, 3
_PAULIS = {X_AXIS: _X, Y_AXIS: _Y, Z_AXIS: _Z}


@dataclass(frozen=True, slots=True)
class _Turn:
    """An error n . (X, Y, Z) on a wire in some shots."""

    wire: int
    axis: Axis
    shots: Column


class Strikes:
    """Errors of the pairs that act at one operation: some before it, some after it."""

    def __init__(self, operation: gate.NodeOperation, draws: Draws, tally: FragmentTally) -> None:
        """Draws them; the fragment in which a pair begins answers for it."""
        self._before: list[_Turn] = []
        self._after: list[_Turn] = []
        gone: set[int] = set()
        for use in operation.struck:
            weights = PauliWeights(use.error_x, use.error_y, use.error_z)
            letters = letters_of(draws.uniforms(use.operation, Purpose.EBIT, use.draw), weights)
            if use.operation == operation.index:
                tally.note_errors(letters != 0)
            if use.kind == "cat":
                self._cat(operation, use, letters)
            elif use.kind == "kept":
                self._before.append(_Turn(use.wire, X_AXIS, (letters == _X) | (letters == _Y)))
            elif use.wire in gone:
                self._after += _turns(use.wire, letters)
            else:
                self._before += _turns(use.wire, letters)
                if use.operation == operation.index and served(operation, use.wire) is Reach.THERE_AND_BACK:
                    gone.add(use.wire)

    def _cat(self, operation: gate.NodeOperation, use: gate.EbitUse, letters: Letters) -> None:
        errors = copy_errors(
            operation.name, tuple(operation.parameters), list(operation.wires).index(use.wire)
        )
        flipped = (letters == _X) | (letters == _Y)
        self._before.append(_Turn(use.wire, errors.before, flipped))
        self._after.append(_Turn(use.wire, errors.after, flipped))
        if use.operation == operation.index:
            self._after.append(_Turn(use.wire, errors.phase, (letters == _Y) | (letters == _Z)))

    def before(self, components: Components) -> None:
        """Lets those happen that come before the operation."""
        _happen(components, self._before)

    def after(self, components: Components) -> None:
        """Lets those happen that come after it."""
        _happen(components, self._after)


def _turns(wire: int, letters: Letters) -> list[_Turn]:
    return [_Turn(wire, axis, letters == letter) for axis, letter in _PAULIS.items()]


def served(operation: gate.NodeOperation, wire: int) -> Reach | None:
    """How a wire of an operation is served; None for a wire alone."""
    ways = reaches(operation.kind, operation.name, len(operation.wires))
    return ways[list(operation.wires).index(wire)] if ways else None


def _happen(components: Components, errors: Sequence[_Turn]) -> None:
    for error in errors:
        letter = _PAULIS.get(error.axis)
        if letter is not None:
            components.apply_pauli(error.wire, np.where(error.shots, letter, 0))
        elif error.shots.any():
            components.apply((error.wire,), axis_matrix(error.axis), error.shots)
