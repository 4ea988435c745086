"""Flattened gate definitions of a text.

Responsible for the data; a body is flattened when it is defined, its size counted before that, so that
doubling definitions cost nothing and a definition can never contain itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from qmesh_model.gates import Gate
from qmesh_model.parameters import Parameter


class Primitive(NamedTuple):
    """One step of a flattened body.

    Attributes:
        gate: entry of the catalogue; None for a barrier, or for a global phase when there are parameters.
        params: parameters, in terms of the definition's own.
        operands: positions in the definition's list of qubits.
    """

    gate: Gate | None
    params: tuple[Parameter, ...]
    operands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A user's gate.

    Attributes:
        name: name.
        params: names of its parameters.
        num_qubits: operands.
        steps: flattened body.
        work: steps of all symbolic expressions in the body.
        operands: operands of all steps together.
    """

    name: str
    params: tuple[str, ...]
    num_qubits: int
    steps: tuple[Primitive, ...]
    work: int
    operands: int
