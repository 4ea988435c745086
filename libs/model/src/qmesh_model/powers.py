"""Powers and inverses of gates: exact steps of the catalogue, global phases included.

A power that is no integer is the principal one: U^k = exp(i k H) for U = exp(i H) with the eigenvalues of H in
(-pi, pi], as OpenQASM 3 has it.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from typing import Final

from qmesh_model import gates, matrices
from qmesh_model.controls import BASES, INNER, controlled, phased_angles, placed
from qmesh_model.definitions import Primitive
from qmesh_model.gates import GATES
from qmesh_model.matrices import Matrix
from qmesh_model.parameters import Expression, Parameter, apply_binary, apply_unary

_LINEAR: Final = frozenset(
    ["p", "rx", "ry", "rz", "rxx", "ryy", "rzz", "crx", "cry", "crz", "cp", "c2p", "c3p", "c4p"]
)
_HALF_TURN: Final = frozenset({"p", "cp", "c2p", "c3p", "c4p"})
_SNAP: Final = 1e-12


class NoPower(ValueError):  # noqa: N818 - read as the fact that it states
    """A gate has no power of this kind here: a symbolic angle, or a product over several qubits."""


def inverse(steps: Sequence[Primitive]) -> Iterator[Primitive]:
    """The steps that undo steps."""
    for step in reversed(steps):
        if step.gate is None:
            yield Primitive(None, tuple(apply_unary("neg", angle) for angle in step.params), step.operands)
            continue
        for name, params, operands in gates.adjoint(step.gate.name, step.params):
            yield placed(Primitive(GATES[name], params, operands), step.operands)


def multiple(step: Primitive, exponent: int) -> Primitive | None:
    """One step that is the integer power of a step, if its angle is a mere factor."""
    if step.gate is None:
        angles = tuple(apply_binary("*", angle, float(exponent)) for angle in step.params)
        return Primitive(None, angles, step.operands)
    if step.gate.name in _LINEAR:
        return Primitive(step.gate, (apply_binary("*", step.params[0], float(exponent)),), step.operands)
    return None


def power(steps: Sequence[Primitive], exponent: float) -> list[Primitive]:
    """The principal power of a product.

    Raises:
        NoPower: when an angle is symbolic, or the product acts on several qubits and is no single gate.
    """
    for step in steps:
        if any(isinstance(value, Expression) for value in step.params):
            raise NoPower("a power that is no integer needs known angles")
    acting = [step for step in steps if step.operands and step.gate is not None]
    if len(acting) == len(steps) == 1:
        return list(_single(steps[0], exponent))
    qubits = sorted({qubit for step in acting for qubit in step.operands})
    if len(qubits) > 1:
        raise NoPower("a power that is no integer is known for one gate, or for a product on one qubit")
    return list(_matrix_power(_product(steps), qubits, exponent))


def _numbers(params: tuple[Parameter, ...]) -> tuple[float, ...]:
    return tuple(value for value in params if not isinstance(value, Expression))


def _product(steps: Sequence[Primitive]) -> Matrix:
    """The matrix of steps on at most one qubit; a barrier is the identity."""
    found: Matrix = matrices.ID
    for step in steps:
        values = _numbers(step.params)
        if step.gate is not None:
            found = matrices.multiply(gates.matrix(step.gate.name, values), found)
        elif values:
            found = matrices.scale(found, cmath.exp(1j * values[0]))
    return found


def _single(step: Primitive, exponent: float) -> Iterator[Primitive]:
    gate = step.gate
    if gate is None:
        yield step
        return
    values = _numbers(step.params)
    if gate.name in _LINEAR and abs(values[0]) < (math.pi if gate.name in _HALF_TURN else math.tau):
        yield Primitive(gate, (values[0] * exponent,), step.operands)
    elif gate.name == "iswap":
        for name in ("rxx", "ryy"):
            yield Primitive(GATES[name], (-math.pi / 2 * exponent,), step.operands)
    elif gate.name in INNER:
        yield from _conjugated(gate.name, step, exponent)
    elif gate.name == "cswap":
        for inner in _single(Primitive(GATES["swap"], (), step.operands[1:]), exponent):
            yield from controlled(inner, step.operands[:1])
    elif gate.controls:
        base = BASES[gate.name]
        matrix = matrices.phased_u(*_numbers(phased_angles(base, values)))
        for inner in _matrix_power(matrix, [step.operands[-1]], exponent):
            yield from controlled(inner, step.operands[:-1])
    else:
        yield from _matrix_power(gates.matrix(gate.name, values), [step.operands[0]], exponent)


def _conjugated(name: str, step: Primitive, exponent: float) -> Iterator[Primitive]:
    """W V W^-1 to the power: W V^k W^-1."""
    inner = INNER[name](*step.params)
    if sum(matters for _, matters in inner) != 1:
        raise NoPower(f"`{name}` has no power here that is no integer")
    for part, matters in inner:
        place = placed(part, step.operands)
        if matters:
            yield from _single(place, exponent)
        else:
            yield place


def _principal(value: complex) -> float:
    angle = cmath.phase(value)
    return math.pi if angle <= _SNAP - math.pi else angle


def _matrix_power(matrix: Matrix, qubits: Sequence[int], exponent: float) -> Iterator[Primitive]:
    """The power of a one-qubit matrix: a phase gate where it is diagonal, else U; and a global phase."""
    (a, b), (c, d) = matrix
    if abs(b) <= _SNAP and abs(c) <= _SNAP:
        low, high = (_principal(value) * exponent for value in (a, d))
        if qubits:
            yield Primitive(GATES["p"], (high - low,), tuple(qubits))
        yield Primitive(None, (low,), ())
        return
    middle, root = (a + d) / 2, cmath.sqrt(((a - d) / 2) ** 2 + b * c)
    one, two = middle + root, middle - root
    first, second = (cmath.exp(1j * _principal(value) * exponent) for value in (one, two))
    # f(M) = f(one) P + f(two) (1 - P) with P = (M - two) / (one - two)
    slope = (first - second) / (one - two)
    a, b, c, d = second + slope * (a - two), slope * b, slope * c, second + slope * (d - two)
    gamma = cmath.phase(a) if abs(a) > _SNAP else cmath.phase(-b)
    if abs(a) > _SNAP:
        phi, lam = cmath.phase(c) - gamma, cmath.phase(-b) - gamma
    else:
        phi, lam = cmath.phase(c) - gamma, 0.0
    theta = 2 * math.atan2(abs(c), abs(a))
    yield Primitive(GATES["u"], (theta, phi, lam), tuple(qubits))
    yield Primitive(None, (gamma,), ())
