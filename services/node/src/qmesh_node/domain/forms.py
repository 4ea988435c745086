"""What a gate's matrix does, so that only the amplitudes that change are touched, and with the fewest products."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

Matrix = tuple[tuple[complex, ...], ...]


class Kind(IntEnum):
    """Kinds of gates, as `native/sweep.c` numbers them."""

    DIAGONAL = 0
    """A factor for each value of the targets."""
    FLIP = 1
    """X."""
    SWAP = 2
    """Exchange of two wires."""
    REAL = 3
    """One target, real elements."""
    GENERAL = 4
    """One target, complex elements."""
    PAIR = 5
    """Any matrix on two targets."""
    DENSE = 6
    """Any matrix on up to five targets."""


@dataclass(frozen=True, slots=True)
class Form:
    """A gate: where every control is 1, `kind` with its elements happens on the targets.

    Attributes:
        kind: what happens.
        controls: places of the controls among the operands.
        targets: places of the targets, least significant first.
        factors: real and imaginary parts of the elements, row by row; of a diagonal its entries; of FLIP and SWAP none.
    """

    kind: Kind
    controls: tuple[int, ...]
    targets: tuple[int, ...]
    factors: tuple[float, ...]


@lru_cache(maxsize=8192)
def form_of(matrix: Matrix) -> Form | None:
    """The form of a 2^k x 2^k matrix, first operand least significant; None for the identity.

    Elements are compared exactly: a gate that is nearly diagonal is not diagonal.
    """
    size = len(matrix)
    width = size.bit_length() - 1
    touched = {i for i, row in enumerate(matrix) if any(row[j] != (i == j) for j in range(size))}
    if not touched:
        return None
    controls = tuple(k for k in range(width) if all(i >> k & 1 for i in touched))
    targets = tuple(k for k in range(width) if k not in controls)
    fixed = sum(1 << k for k in controls)
    places = [fixed | sum((v >> b & 1) << k for b, k in enumerate(targets)) for v in range(1 << len(targets))]
    rest = tuple(tuple(complex(matrix[i][j]) for j in places) for i in places)
    diagonal = all(not value for i, row in enumerate(rest) for j, value in enumerate(row) if i != j)
    if diagonal:
        return Form(Kind.DIAGONAL, controls, targets, _parts([row[i] for i, row in enumerate(rest)]))
    if rest == _FLIP:
        return Form(Kind.FLIP, controls, targets, ())
    if rest == _SWAP:
        return Form(Kind.SWAP, controls, targets, ())
    factors = _parts([value for row in rest for value in row])
    if len(targets) == 1:
        real = not any(factors[1::2])
        return Form(Kind.REAL if real else Kind.GENERAL, controls, targets, factors)
    return Form(Kind.PAIR if len(targets) == 2 else Kind.DENSE, controls, targets, factors)  # noqa: PLR2004 - a pair


def _parts(values: list[complex]) -> tuple[float, ...]:
    return tuple(part for value in values for part in (value.real, value.imag))


_FLIP = ((0, 1), (1, 0))
_SWAP = ((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1))


def product(second: Matrix, first: Matrix) -> Matrix:
    """One-qubit gate `first`, then `second`."""
    (a, b), (c, d) = second
    (e, f), (g, h) = first
    return ((a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h))
