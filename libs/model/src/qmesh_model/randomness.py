"""Layout of the counter that keys every random draw ("Randomness" in docs/execution-model.md); no generator lives here.

Philox4x64-10 with key = job seed and the counter words

    word 0: number of the shot in the whole job
    word 1: index of the operation in the normal form
    word 2: purpose * 2**32 + number of the draw inside the operation
    word 3: index of the parameter set

u = (first output word >> 11) * 2**-53, and a drawn bit is 1 iff u >= P(0 | this shot's history).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Purpose(IntEnum):
    """What a draw decides; part of the counter, therefore stable for ever."""

    MEASURE = 0
    """Outcome of a measurement."""
    READOUT = 1
    """Whether a read bit is flipped."""
    GATE_ERROR = 2
    """Whether and which error a gate leaves."""
    RESET = 3
    """Outcome that a reset discards."""
    SYNDROME = 4
    """Outcome of a stabiliser measurement; the draw number is the number of the check."""
    IDLE_DECAY = 5
    """Decay of a memory before an operation; the draw number is the operand."""
    EBIT = 6
    """Pauli error of a delivered pair; the draw number is the pair inside the operation."""
    RESET_ERROR = 7
    """Whether a reset leaves the excited state."""


CERTAIN: Final = 1e-12
"""Probabilities below this are taken as 0 and those above 1 - CERTAIN as 1."""

DRAW_BITS: Final = 32
"""Bits of the draw number in counter word 2."""

UNIT: Final = 2.0**-53
"""Factor that turns the upper 53 bits of a word into u in [0, 1)."""

_WORD: Final = 1 << 64


def counter(
    shot: int, operation: int, purpose: Purpose, *, draw: int = 0, parameter_set: int = 0
) -> tuple[int, int, int, int]:
    """The four counter words of one draw, word 0 first.

    Raises:
        ValueError: when a number does not fit its field.
    """
    if not 0 <= draw < 1 << DRAW_BITS:
        raise ValueError("the draw number needs more than 32 bits")
    if min(shot, operation, parameter_set) < 0 or max(shot, operation, parameter_set) >= _WORD:
        raise ValueError("a counter word holds 64 bits")
    return (shot, operation, int(purpose) << DRAW_BITS | draw, parameter_set)


def uniform(word: int) -> float:
    """The number in [0, 1) that one output word of the generator stands for."""
    return (word >> 11) * UNIT


def settle(probability_zero: float) -> float:
    """P(0) with the certain ends made exact, so that no rounding decides a certain outcome."""
    if probability_zero < CERTAIN:
        return 0.0
    if probability_zero > 1.0 - CERTAIN:
        return 1.0
    return probability_zero
