"""The gate catalogue: names, arities, service types, matrices and algebraic facts.

Responsible for every unitary name of `qelib1.inc`, `stdgates.inc` and the service words (docs/formats/openqasm.md,
"Service words"); the syntax of words that are no gates is the parser's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from qmesh_model import matrices as m
from qmesh_model.matrices import Matrix
from qmesh_model.parameters import Parameter, apply_unary

SERVICE_TYPES: Final = (
    "bell_pair",
    "cnot",
    "cz",
    "teleportation",
    "syndrome_extraction",
    "distillation",
    "measurement_feedforward",
    "hadamard",
    "qft",
    "controlled_unitary",
    "programmable_gate",
)
"""Every service type that a node can offer."""

MAX_GATE_QUBITS: Final = 5
"""Operands of the widest gate."""

type Step = tuple[str, tuple[Parameter, ...], tuple[int, ...]]
"""A gate name, its parameters and the positions of its operands."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One entry of the catalogue.

    Attributes:
        name: canonical name.
        num_qubits: operands.
        num_params: parameters, in radians.
        service_type: service type that a node must offer.
        controls: leading operands that are plain controls of the rest.
        build: matrix from parameter values.
    """

    name: str
    num_qubits: int
    num_params: int
    service_type: str
    controls: int
    build: Callable[..., Matrix]


def _service(name: str, num_qubits: int) -> str:
    special = {
        "h": "hadamard",
        "cx": "cnot",
        "cz": "cz",
        "bell_pair": "bell_pair",
        "teleport": "teleportation",
    }
    return special.get(name) or ("programmable_gate" if num_qubits == 1 else "controlled_unitary")


def _entry(name: str, qubits: int, params: int, build: Callable[..., Matrix], controls: int = 0) -> Gate:
    return Gate(name, qubits, params, _service(name, qubits), controls, build)


def _fixed(name: str, matrix: Matrix) -> Gate:
    return _entry(name, len(matrix).bit_length() - 1, 0, lambda: matrix)


def _ctrl(name: str, base: Callable[..., Matrix], params: int, controls: int = 1, targets: int = 1) -> Gate:
    return _entry(name, controls + targets, params, lambda *p: m.control(base(*p), controls), controls)


_ENTRIES: Final = (
    *(
        _fixed(name, matrix)
        for name, matrix in (("id", m.ID), ("x", m.X), ("y", m.Y), ("z", m.Z), ("h", m.H))
    ),
    *(_fixed(name, matrix) for name, matrix in (("s", m.S), ("sdg", m.SDG), ("t", m.T), ("tdg", m.TDG))),
    *(_fixed(name, matrix) for name, matrix in (("sx", m.SX), ("sxdg", m.SXDG), ("swap", m.SWAP))),
    *(_fixed(name, matrix) for name, matrix in (("iswap", m.ISWAP), ("dcx", m.DCX), ("ecr", m.ECR))),
    _fixed("teleport", m.SWAP),
    _entry("u0", 1, 1, lambda _: m.ID),
    _entry("p", 1, 1, m.phase),
    _entry("rx", 1, 1, m.rx),
    _entry("ry", 1, 1, m.ry),
    _entry("rz", 1, 1, m.rz),
    _entry("u", 1, 3, m.u),
    _entry("u2", 1, 2, m.u2),
    _entry("rxx", 2, 1, m.rxx),
    _entry("ryy", 2, 1, m.ryy),
    _entry("rzz", 2, 1, m.rzz),
    _entry("bell_pair", 2, 0, m.bell_pair),
    _ctrl("cx", lambda: m.X, 0),
    _ctrl("cy", lambda: m.Y, 0),
    _ctrl("cz", lambda: m.Z, 0),
    _ctrl("ch", lambda: m.H, 0),
    _ctrl("cs", lambda: m.S, 0),
    _ctrl("csdg", lambda: m.SDG, 0),
    _ctrl("csx", lambda: m.SX, 0),
    _ctrl("crx", m.rx, 1),
    _ctrl("cry", m.ry, 1),
    _ctrl("crz", m.rz, 1),
    _ctrl("cp", m.phase, 1),
    _ctrl("cu3", m.u, 3),
    *(_ctrl(name, m.phased_u, 4, k) for k, name in enumerate(("cu", "c2u", "c3u", "c4u"), 1)),
    *(_ctrl(name, m.phase, 1, k) for k, name in enumerate(("c2p", "c3p", "c4p"), 2)),
    _ctrl("ccx", lambda: m.X, 0, 2),
    _ctrl("ccz", lambda: m.Z, 0, 2),
    _ctrl("cswap", lambda: m.SWAP, 0, 1, 2),
    _ctrl("c3x", lambda: m.X, 0, 3),
    _ctrl("c3sqrtx", lambda: m.SX, 0, 3),
    _ctrl("c4x", lambda: m.X, 0, 4),
    _entry("rccx", 3, 0, m.rccx),
    _entry("rc3x", 4, 0, m.rc3x),
)

GATES: Final[Mapping[str, Gate]] = {gate.name: gate for gate in _ENTRIES}
"""The catalogue by canonical name; `gphase` is no entry, it acts on no qubit."""

ALIASES: Final[Mapping[str, str]] = {
    "CX": "cx",
    "cnot": "cx",
    "U": "u",
    "u3": "u",
    "programmable_gate": "u",
    "u1": "p",
    "phase": "p",
    "cu1": "cp",
    "cphase": "cp",
    "controlled_unitary": "cu",
    "hadamard": "h",
    "c3sx": "c3sqrtx",
}
"""Other names of the same gates."""

_OLD = "id x y z h s sdg t tdg sx sxdg rx ry rz p u u1 u2 u3 u0 cx cy cz ch csx crx cry crz cp cu cu1 cu3"
QELIB1: Final = frozenset(f"{_OLD} swap ccx cswap rxx rzz rccx rc3x c3x c3sqrtx c4x".split())
"""Names that `include "qelib1.inc"` declares."""

STDGATES: Final = frozenset(
    [
        "p",
        "x",
        "y",
        "z",
        "h",
        "s",
        "sdg",
        "t",
        "tdg",
        "sx",
        "rx",
        "ry",
        "rz",
        "cx",
        "cy",
        "cz",
        "cp",
        "crx",
        "cry",
        "crz",
        "ch",
        "swap",
        "ccx",
        "cswap",
        "cu",
        "CX",
        "phase",
        "cphase",
        "id",
        "u1",
        "u2",
        "u3",
    ]
)
"""Names that `include "stdgates.inc"` declares."""

BUILTIN: Final = frozenset({"U", "CX", "gphase"})
"""Names of the language itself."""

UNITARY_WORDS: Final = frozenset(
    ["bell_pair", "cnot", "cz", "swap", "hadamard", "teleport", "controlled_unitary", "programmable_gate"]
)
"""Service words that are one gate of the catalogue; written in any case."""


def resolve(name: str) -> Gate | None:
    """The entry that a canonical name or an alias stands for."""
    return GATES.get(ALIASES.get(name, name))


@lru_cache(maxsize=8192)
def matrix(name: str, params: tuple[float, ...] = ()) -> Matrix:
    """The unitary of a gate.

    Args:
        name: canonical name or alias.
        params: parameter values in radians.

    Returns:
        2**n rows of 2**n complex numbers, little-endian: the first operand is the least significant bit.

    Raises:
        KeyError: when the name is not in the catalogue.
        ValueError: when the number of parameters is wrong.
    """
    gate = GATES[ALIASES.get(name, name)]
    if len(params) != gate.num_params:
        raise ValueError(f"{gate.name} takes {gate.num_params} parameters, not {len(params)}")
    return tuple(tuple(complex(value) for value in row) for row in gate.build(*params))


# Generic angles: an element that vanishes here vanishes for every value of the parameters.
_GENERIC: Final = (0.7390851332151607, 1.2020569031595942, 0.5671432904097838, 1.6180339887498949)


def _generic(name: str) -> Matrix:
    gate = GATES[ALIASES.get(name, name)]
    return matrix(gate.name, _GENERIC[: gate.num_params])


@lru_cache(maxsize=256)
def diagonal_operands(name: str) -> tuple[bool, ...]:
    """For each operand, whether the gate commutes with Z there for every value of its parameters."""
    generic = _generic(name)
    return tuple(m.is_diagonal_on(generic, k) for k in range(len(generic).bit_length() - 1))


@lru_cache(maxsize=256)
def is_diagonal(name: str) -> bool:
    """Whether the gate is diagonal for every value of its parameters."""
    return all(diagonal_operands(name))


@lru_cache(maxsize=256)
def is_permutation(name: str) -> bool:
    """Whether the gate permutes basis states up to phases for every value of its parameters."""
    return m.is_permutation(_generic(name))


@lru_cache(maxsize=8192)
def is_clifford(name: str, params: tuple[float, ...] = ()) -> bool:
    """Whether the gate with these values maps Pauli strings to Pauli strings."""
    return m.is_clifford(matrix(name, params))


@lru_cache(maxsize=8192)
def splits_segment(name: str, params: tuple[float, ...] = ()) -> bool:
    """Whether a one-qubit gate is neither diagonal nor anti-diagonal ("E-bits" in docs/execution-model.md)."""
    (a, b), (c, d) = matrix(name, params)
    tolerance = 1e-12
    return max(abs(a), abs(d)) > tolerance and max(abs(b), abs(c)) > tolerance


def _negated(name: str, params: tuple[Parameter, ...]) -> Step:
    operands = tuple(range(GATES[name].num_qubits))
    return (name, tuple(apply_unary("neg", value) for value in params), operands)


_SELF_ADJOINT: Final = frozenset(
    [
        "id",
        "x",
        "y",
        "z",
        "h",
        "cx",
        "cy",
        "cz",
        "ch",
        "swap",
        "teleport",
        "ecr",
        "ccx",
        "ccz",
        "cswap",
        "c3x",
        "c4x",
        "u0",
    ]
)
_PAIRS: Final = {"s": "sdg", "t": "tdg", "sx": "sxdg", "cs": "csdg"}
_ADJOINT_NAME: Final = _PAIRS | {inverse: name for name, inverse in _PAIRS.items()}
_NEGATED: Final = frozenset(
    ["p", "rx", "ry", "rz", "rxx", "ryy", "rzz", "crx", "cry", "crz", "cp", "c2p", "c3p", "c4p"]
)
_PHASED: Final = frozenset(["cu", "c2u", "c3u", "c4u"])
_Q: Final = math.pi / 2
_FIXED_ADJOINTS: Final[Mapping[str, tuple[Step, ...]]] = {
    "csx": (("cu", (_Q, _Q, -_Q, -_Q / 2), (0, 1)),),
    "c3sqrtx": (("c3x", (), (0, 1, 2, 3)), ("c3sqrtx", (), (0, 1, 2, 3))),
    "dcx": (("dcx", (), (1, 0)),),
    "iswap": (("swap", (), (0, 1)), ("cz", (), (0, 1)), ("sdg", (), (0,)), ("sdg", (), (1,))),
    "bell_pair": (("cx", (), (0, 1)), ("h", (), (0,))),
    "rccx": (("rccx", (), (0, 1, 2)),),
    "rc3x": (("rc3x", (), (0, 1, 2, 3)),) * 3,
}


def adjoint(name: str, params: tuple[Parameter, ...] = ()) -> tuple[Step, ...]:  # noqa: PLR0911 - one family each
    """Gates of the catalogue whose product is the adjoint, the first step acting first.

    Raises:
        KeyError: when the name is not in the catalogue.
    """
    name = GATES[ALIASES.get(name, name)].name
    operands = tuple(range(GATES[name].num_qubits))
    if name in _SELF_ADJOINT:
        return ((name, params, operands),)
    if name in _ADJOINT_NAME:
        return ((_ADJOINT_NAME[name], params, operands),)
    if name in _NEGATED:
        return (_negated(name, params),)
    if name in {"u", "cu3"}:
        theta, phi, lam = _negated(name, params)[1]
        return ((name, (theta, lam, phi), operands),)
    if name in _PHASED:
        theta, phi, lam, gamma = _negated(name, params)[1]
        return ((name, (theta, lam, phi, gamma), operands),)
    if name == "u2":
        phi, lam = _negated(name, params)[1]
        return (("u", (-_Q, lam, phi), operands),)
    return _FIXED_ADJOINTS[name]


def commute(first: str, first_qubits: tuple[int, ...], second: str, second_qubits: tuple[int, ...]) -> bool:
    """Whether the catalogue proves that two unconditioned gates commute: both diagonal on all shared qubits."""
    if first not in GATES or second not in GATES:
        return False
    one, two = diagonal_operands(first), diagonal_operands(second)
    return all(
        one[i] and two[second_qubits.index(qubit)]
        for i, qubit in enumerate(first_qubits)
        if qubit in second_qubits
    )


def numeric(params: tuple[Parameter, ...]) -> tuple[float, ...] | None:
    """The parameters when all are numbers, else None."""
    return cast("tuple[float, ...]", params) if all(isinstance(p, float) for p in params) else None
