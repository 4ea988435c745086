"""The normal form of a circuit: operations in order, classical bits as versions, conditions as bounded trees."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from qmesh_model.diagnostics import Diagnostic
from qmesh_model.errors import MeshError
from qmesh_model.parameters import Expression, Parameter, ParameterError, Symbol


class Kind(IntEnum):
    """What an operation does, whatever its name is; the numbers are those of the wire contract."""

    GATE = 1
    MEASURE = 2
    RESET = 3
    BARRIER = 4
    DELAY = 5
    SYNDROME = 6
    DISTILLATION = 7
    TELEPORT = 8
    SWAP = 9


class Comparison(IntEnum):
    """Comparisons of register values; the numbers are those of the wire contract."""

    EQUAL = 1
    NOT_EQUAL = 2
    LESS = 3
    LESS_EQUAL = 4
    GREATER = 5
    GREATER_EQUAL = 6


class Logical(IntEnum):
    """Operators over truth values; the numbers are those of the wire contract."""

    NOT = 1
    AND = 2
    OR = 3
    XOR = 4


class Span(NamedTuple):
    """Place in the text; lines and columns count from 1, `end_column` is exclusive."""

    line: int
    column: int
    end_column: int


_BEGINNING = Span(1, 1, 1)


@dataclass(frozen=True, slots=True)
class Register:
    """A declared register."""

    name: str
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class BitVersion:
    """Truth of one version of a classical bit; -1 is a bit that was never written."""

    version: int


@dataclass(frozen=True, slots=True)
class RegisterComparison:
    """An unsigned register value, least significant bit first, compared with a constant."""

    versions: tuple[int, ...]
    comparison: Comparison
    value: int


ConditionStep = BitVersion | RegisterComparison | Logical


@dataclass(frozen=True, slots=True)
class Condition:
    """Postfix steps that leave one truth value."""

    steps: tuple[ConditionStep, ...]

    @property
    def versions(self) -> frozenset[int]:
        """Versions that it reads, without -1."""
        found: set[int] = set()
        for step in self.steps:
            if isinstance(step, BitVersion):
                found.add(step.version)
            elif isinstance(step, RegisterComparison):
                found.update(step.versions)
        return frozenset(found - {-1})

    def negated(self) -> Condition:
        """True where this one is false."""
        return Condition((*self.steps, Logical.NOT))

    def both(self, other: Condition) -> Condition:
        """True where both are."""
        return Condition((*self.steps, *other.steps, Logical.AND))


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one bit; `previous` is the version kept where the condition is false, -1 for 0."""

    bit: int
    version: int
    previous: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the normal form; the first operand is the least significant bit of the matrix index."""

    index: int
    kind: Kind
    name: str
    service_type: str
    qubits: tuple[int, ...]
    parameters: tuple[Parameter, ...] = ()
    writes: tuple[Write, ...] = ()
    condition: Condition | None = None
    terminal: bool = False
    span: Span = _BEGINNING

    @property
    def relabels(self) -> bool:
        """Moves wires between components without joining them."""
        return self.kind in {Kind.SWAP, Kind.TELEPORT}

    @property
    def collapses(self) -> bool:
        """Draws an outcome in the middle of the circuit."""
        return (
            self.kind is Kind.RESET
            or (self.kind is Kind.MEASURE and not self.terminal)
            or (self.kind is Kind.SYNDROME and len(self.qubits) > 1)
        )

    @property
    def needs_node(self) -> bool:
        """Something has to be executed somewhere."""
        return bool(self.service_type)


@dataclass(frozen=True)
class Circuit:
    """A circuit in normal form."""

    num_qubits: int
    num_bits: int
    num_versions: int
    qubit_registers: tuple[Register, ...]
    bit_registers: tuple[Register, ...]
    operations: tuple[Operation, ...]
    final_versions: tuple[int, ...]
    symbols: tuple[str, ...] = ()
    global_phase: Parameter = 0.0
    language: str = "3.0"
    warnings: tuple[Diagnostic, ...] = field(default=(), compare=False)

    def canonical_bytes(self) -> bytes:
        """Bytes that are equal for equal circuits, whatever comments, spacing and register names are.

        Values that are bound to symbolic parameters later do not enter.
        """
        out = bytearray(b"qmesh-circuit-v1\0")
        out += struct.pack("<III", self.num_qubits, self.num_bits, self.num_versions)
        out += struct.pack(
            f"<I{len(self.bit_registers)}I", len(self.bit_registers), *(r.size for r in self.bit_registers)
        )
        order = {name: number for number, name in enumerate(self.symbols)}
        for operation in self.operations:
            _write_operation(out, operation, order)
        _write_parameter(out, self.global_phase, order)
        return bytes(out)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.canonical_bytes()).digest()

    def bind(self, values: Mapping[str, float]) -> Circuit:
        """The circuit with its symbolic parameters known.

        Raises:
            MeshError: INVALID_ARGUMENT, when a value is missing or leads to no finite number.
        """
        if not self.symbols:
            return self
        operations = tuple(
            replace(op, parameters=tuple(_bound(p, values) for p in op.parameters)) if op.parameters else op
            for op in self.operations
        )
        return replace(
            self, operations=operations, symbols=(), global_phase=_bound(self.global_phase, values)
        )


def _bound(parameter: Parameter, values: Mapping[str, float]) -> float:
    if not isinstance(parameter, Expression):
        return parameter
    try:
        return parameter.evaluate(values)
    except ParameterError as error:
        raise MeshError("INVALID_ARGUMENT", f"a parameter has no value: {error}") from None


def _write_parameter(out: bytearray, parameter: Parameter, order: Mapping[str, int]) -> None:
    if not isinstance(parameter, Expression):
        out += b"n" + struct.pack("<d", parameter + 0.0)
        return
    out += b"e" + struct.pack("<I", len(parameter.tokens))
    for step in parameter.tokens:
        if isinstance(step, Symbol):
            name = step.name.encode()
            out += b"s" + struct.pack("<II", order.get(step.name, 0), len(name)) + name
        elif isinstance(step, str):
            out += b"o" + step.encode() + b"\0"
        else:
            out += b"n" + struct.pack("<d", step)


def _ints(values: Iterable[int]) -> bytes:
    numbers = list(values)
    return struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers)


def _write_operation(out: bytearray, operation: Operation, order: Mapping[str, int]) -> None:
    out += struct.pack("<BB", int(operation.kind), operation.terminal)
    out += operation.name.encode() + b"\0" + operation.service_type.encode() + b"\0" + _ints(operation.qubits)
    for parameter in operation.parameters:
        _write_parameter(out, parameter, order)
    for write in operation.writes:
        out += b"w" + _ints((write.bit, write.version, write.previous))
    if operation.condition is not None:
        for step in operation.condition.steps:
            if isinstance(step, BitVersion):
                out += b"v" + _ints((step.version,))
            elif isinstance(step, RegisterComparison):
                out += b"r" + _ints(step.versions) + struct.pack("<BQ", int(step.comparison), step.value)
            else:
                out += b"l" + bytes([int(step)])
    out += b";"
