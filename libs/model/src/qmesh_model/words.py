"""Service words that are no single gate: their forms and what they lower to ("Service words" in docs/formats/openqasm.md)."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from qmesh_model.definitions import Primitive
from qmesh_model.gates import GATES


class SyndromeCode(NamedTuple):
    """A code of `syndrome_extraction`, and what one extraction costs with one ancilla.

    Attributes:
        name: of the code.
        num_qubits: operands.
        num_bits: checks, each a bit of the syndrome and one reset and one reading of the ancilla.
        num_cx: CX gates between operands and the ancilla: the weights of all checks.
        num_h: Hadamard gates on the ancilla: two for each X check.
    """

    name: str
    num_qubits: int
    num_bits: int
    num_cx: int
    num_h: int


_CODES: Final = (
    SyndromeCode("identity", 1, 0, 0, 0),
    SyndromeCode("repetition", 3, 2, 4, 0),
    SyndromeCode("four_two_two", 4, 2, 8, 2),
    SyndromeCode("steane", 7, 6, 24, 6),
    SyndromeCode("surface", 9, 8, 24, 8),
)

SYNDROME_CODES: Final = {code.num_qubits: code for code in _CODES}
"""Codes by number of qubits, which names them uniquely."""

SYNDROME_NAMES: Final = {code.name: code for code in _CODES}
"""Codes by name."""

DISTILLATION_NAMES: Final = {"bbpssw": "distillation", "dejmps": "distillation_dejmps"}
"""Operation names by protocol."""

MAX_ROUNDS: Final = 4
"""Rounds of distillation before one remote operation."""

FOURIER: Final = frozenset({"qft", "iqft"})
OTHER_WORDS: Final = frozenset({"distillation", "syndrome_extraction", "measure"}) | FOURIER
"""Words that are no single gate of the catalogue; written in any case."""


def fourier_size(width: int) -> int:
    """Operations that a Fourier transform of this width lowers to."""
    return width * (width + 1) // 2 + width // 2


def fourier(width: int, *, inverse: bool) -> list[Primitive]:
    """The quantum Fourier transform with final swaps: amplitude exp(2 pi i j k / 2**n) / sqrt(2**n).

    Args:
        width: qubits; position 0 is the least significant.
        inverse: the inverse transform.
    """
    steps = []
    for high in reversed(range(width)):
        steps.append(Primitive(GATES["h"], (), (high,)))
        steps += [
            Primitive(GATES["cp"], (math.ldexp(math.pi, low - high) * (-1 if inverse else 1),), (low, high))
            for low in reversed(range(high))
        ]
    steps += [Primitive(GATES["swap"], (), (low, width - 1 - low)) for low in range(width // 2)]
    return steps[::-1] if inverse else steps
