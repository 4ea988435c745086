"""Gates under more controls: exact steps of the catalogue, global phases included.

Responsible for one step at a time; a controlled product is the product of its controlled steps. Angles stay linear in
the gate's own, so that symbolic parameters stay symbolic. Beyond the widest entry of the catalogue a phase is split by
halving its angle, a controlled X by borrowing a qubit in any state (Barenco et al., Phys. Rev. A 52 (1995) 3457).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from qmesh_model.definitions import Primitive
from qmesh_model.gates import GATES
from qmesh_model.parameters import Parameter, apply_binary, apply_unary

_PI: Final = math.pi
_HALF: Final = math.pi / 2
_WIDEST: Final = 4
"""Controls of the widest entries of the catalogue."""

BASES: Final[Mapping[str, str]] = {
    "cx": "x", "cy": "y", "cz": "z", "ch": "h", "cs": "s", "csdg": "sdg", "csx": "sx", "crx": "rx", "cry": "ry",
    "crz": "rz", "cp": "p", "cu3": "u", "cu": "phased_u", "c2u": "phased_u", "c3u": "phased_u", "c4u": "phased_u",
    "c2p": "p", "c3p": "p", "c4p": "p", "ccx": "x", "ccz": "z", "c3x": "x", "c4x": "x", "c3sqrtx": "sx", "cswap": "swap",
}  # fmt: skip
"""What the plain controls of an entry control; "phased_u" is e^(i gamma) U and no entry of its own."""

_CONTROLLED: Final[Mapping[tuple[str, int], str]] = {
    (base, GATES[name].controls): name for name, base in BASES.items() if name != "cswap"
}
_PHASES: Final[Mapping[str, float]] = {
    "z": _PI, "s": _HALF, "sdg": -_HALF, "t": _PI / 4, "tdg": -_PI / 4,
}  # fmt: skip
_ANGLES: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "x": (_PI, 0.0, _PI, 0.0),
    "y": (_PI, _HALF, _HALF, 0.0),
    "h": (_HALF, 0.0, _PI, 0.0),
    "sx": (_HALF, -_HALF, _HALF, _PI / 4),
    "sxdg": (-_HALF, -_HALF, _HALF, -_PI / 4),
}


def _step(name: str, operands: tuple[int, ...], *params: Parameter) -> Primitive:
    return Primitive(GATES[name], params, operands)


def _scaled(value: Parameter, factor: float) -> Parameter:
    return apply_binary("*", value, factor)


def phased_angles(  # noqa: PLR0911 - one family each
    name: str, params: tuple[Parameter, ...]
) -> tuple[Parameter, ...]:
    """Theta, phi, lambda, gamma with which e^(i gamma) U is a one-qubit gate of the catalogue (or "phased_u")."""
    if name in _PHASES:
        return (0.0, 0.0, _PHASES[name], 0.0)
    if name in _ANGLES:
        return _ANGLES[name]
    match name, params:
        case "p", (lam,):
            return (0.0, 0.0, lam, 0.0)
        case "rx", (theta,):
            return (theta, -_HALF, _HALF, 0.0)
        case "ry", (theta,):
            return (theta, 0.0, 0.0, 0.0)
        case "rz", (lam,):
            return (0.0, 0.0, lam, _scaled(lam, -0.5))
        case "u2", (phi, lam):
            return (_HALF, phi, lam, 0.0)
        case "u", (theta, phi, lam):
            return (theta, phi, lam, 0.0)
        case "phased_u", _:
            return params
    return (0.0, 0.0, 0.0, 0.0)


type Inner = tuple[tuple[Primitive, bool], ...]
"""Steps of a gate, and for each whether it has to be controlled when the gate is."""


def _plain(*steps: Primitive) -> tuple[tuple[Primitive, bool], ...]:
    return tuple((step, False) for step in steps)


def _around(*outer: Primitive, inner: Primitive) -> Inner:
    """Outer steps that undo themselves in reverse order, around the one that matters."""
    return (*_plain(*outer), (inner, True), *_plain(*reversed(outer)))


_TURNS: Final[Mapping[str, tuple[tuple[str, tuple[float, ...]], ...]]] = {
    "x": (("h", ()),),
    "y": (("rx", (_HALF,)),),
    "z": (),
}


def _rotation(basis: str) -> Callable[..., Inner]:
    """Exp(-i theta PP / 2): a rotation of the parity, in another basis."""

    def inner(theta: Parameter) -> Inner:
        turns = _TURNS[basis]
        enter = [_step(n, (q,), *p) for n, p in turns for q in (0, 1)]
        leave = [_step(n, (q,), *(-a for a in p)) for n, p in turns for q in (0, 1)]
        parity = _around(_step("cx", (0, 1)), inner=_step("rz", (1,), theta))
        return (*_plain(*enter), *parity, *_plain(*leave))

    return inner


def _ecr() -> Inner:
    def turn(sign: float) -> tuple[tuple[Primitive, bool], ...]:
        h, cx = _step("h", (1,)), _step("cx", (0, 1))
        return _plain(h, cx, _step("rz", (1,), sign * _PI / 4), cx, h)

    return (*turn(1), (_step("x", (0,)), True), *turn(-1))


def _all(*steps: Primitive) -> Inner:
    return tuple((step, True) for step in steps)


def _rccx(a: int, b: int, c: int) -> tuple[Primitive, ...]:
    t, tdg, h = _step("t", (c,)), _step("tdg", (c,)), _step("h", (c,))
    ac, bc = _step("cx", (a, c)), _step("cx", (b, c))
    return (h, t, bc, tdg, ac, t, bc, tdg, h)


def _rc3x() -> tuple[Primitive, ...]:
    t, tdg, h = _step("t", (3,)), _step("tdg", (3,)), _step("h", (3,))
    ends = (h, t, _step("cx", (2, 3)), tdg, h)
    middle = (_step("cx", (0, 3)), t, _step("cx", (1, 3)), tdg)
    return (*ends, *middle, *middle, *ends)


INNER: Final[Mapping[str, Callable[..., Inner]]] = {
    "swap": lambda: _around(_step("cx", (0, 1)), inner=_step("cx", (1, 0))),
    "teleport": lambda: _around(_step("cx", (0, 1)), inner=_step("cx", (1, 0))),
    "rxx": _rotation("x"),
    "ryy": _rotation("y"),
    "rzz": _rotation("z"),
    "ecr": _ecr,
    "iswap": lambda: _all(_step("s", (0,)), _step("s", (1,)), _step("cz", (0, 1)), _step("swap", (0, 1))),
    "dcx": lambda: _all(_step("cx", (0, 1)), _step("cx", (1, 0))),
    "bell_pair": lambda: _all(_step("h", (0,)), _step("cx", (0, 1))),
    "rccx": lambda: _all(*_rccx(0, 1, 2)),
    "rc3x": lambda: _all(*_rc3x()),
}
"""Steps of the entries that are no controlled one-qubit gates, by name; called with their parameters."""


def placed(step: Primitive, operands: tuple[int, ...]) -> Primitive:
    """A step whose positions count along other operands."""
    return Primitive(step.gate, step.params, tuple(operands[i] for i in step.operands))


def controlled(step: Primitive, controls: tuple[int, ...]) -> Iterator[Primitive]:
    """A step under plain controls.

    Args:
        step: the step; a global phase becomes a phase of the controls, a barrier stays.
        controls: at least one position, none of them the step's.

    Yields:
        Steps of the catalogue, as many as are asked for; their product is exact.
    """
    gate = step.gate
    if gate is None:
        yield from phase(step.params[0], controls) if step.params else (step,)
    elif gate.name in INNER:
        for inner, matters in INNER[gate.name](*step.params):
            place = placed(inner, step.operands)
            yield from controlled(place, controls) if matters else (place,)
    elif gate.name == "cswap":
        yield from controlled(_step("swap", step.operands[1:]), (*controls, step.operands[0]))
    elif gate.controls:
        own = (*controls, *step.operands[: gate.controls])
        yield from _one(BASES[gate.name], step.params, own, step.operands[-1])
    else:
        yield from _one(gate.name, step.params, controls, step.operands[0])


def _one(
    base: str, params: tuple[Parameter, ...], controls: tuple[int, ...], target: int
) -> Iterator[Primitive]:
    """A one-qubit gate under controls."""
    name = _CONTROLLED.get((base, len(controls)))
    if name is not None:
        yield _step(name, (*controls, target), *params)
    elif base in {"id", "u0"}:
        yield _step(base, (target,), *params)
    elif base == "p" or base in _PHASES:
        yield from phase(params[0] if params else _PHASES[base], (*controls, target))
    elif base == "rz":
        yield from phase(_scaled(params[0], -0.5), controls)
        yield from phase(params[0], (*controls, target))
    elif base == "x":
        yield _step("h", (target,))
        yield from phase(_PI, (*controls, target))
        yield _step("h", (target,))
    else:
        yield from _phased_u(phased_angles(base, params), controls, target)


def _phased_u(angles: tuple[Parameter, ...], controls: tuple[int, ...], target: int) -> Iterator[Primitive]:
    """E^(i gamma) U under any number of controls: A X B X C between two controlled X where it is too wide."""
    if len(controls) <= _WIDEST:
        yield _step(_CONTROLLED["phased_u", len(controls)], (*controls, target), *angles)
        return
    theta, phi, lam, gamma = angles
    total = apply_binary("+", phi, lam)
    flip = tuple(_one("x", (), controls, target))
    yield _step("rz", (target,), _scaled(apply_binary("-", lam, phi), 0.5))
    yield from flip
    yield _step("rz", (target,), _scaled(total, -0.5))
    yield _step("ry", (target,), _scaled(theta, -0.5))
    yield from flip
    yield _step("ry", (target,), _scaled(theta, 0.5))
    yield _step("rz", (target,), phi)
    yield from phase(apply_binary("+", gamma, _scaled(total, 0.5)), controls)


def phase(angle: Parameter, qubits: tuple[int, ...]) -> Iterator[Primitive]:
    """The factor e^(i angle) where all of the qubits are 1."""
    while len(qubits) > _WIDEST + 1:
        *rest, last, spare = qubits
        half = _scaled(angle, 0.5)
        flip = tuple(_flip(tuple(rest), last, (spare,)))
        yield _step("cp", (last, spare), half)
        yield from flip
        yield _step("cp", (last, spare), apply_unary("neg", half))
        yield from flip
        angle, qubits = half, (*rest, spare)
    yield _step("p" if len(qubits) == 1 else _CONTROLLED["p", len(qubits) - 1], qubits, angle)


def _flip(controls: tuple[int, ...], target: int, spare: tuple[int, ...]) -> Iterator[Primitive]:
    """X under controls; `spare` has at least one qubit in any state, which it leaves as it was."""
    if len(controls) <= _WIDEST:
        yield _step(_CONTROLLED["x", len(controls)], (*controls, target))
        return
    half = (len(controls) + 1) // 2
    low, high = controls[:half], controls[half:]
    one = tuple(_flip(low, spare[0], (*high, target)))
    two = tuple(_flip((*high, spare[0]), target, low))
    for part in (one, two, one, two):
        yield from part
