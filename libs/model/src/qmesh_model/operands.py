"""Syntax of operands: registers, elements, ranges and index sets.

Responsible for turning `q`, `q[0]`, `q[-1]`, `q[0:2]`, `q[{0, 2}]` into indices in the circuit.
"""

from __future__ import annotations

from typing import NamedTuple

from qmesh_model.arithmetic import read_integer
from qmesh_model.budgets import Budgets
from qmesh_model.circuit import Register
from qmesh_model.quoting import quoted
from qmesh_model.scope import Declared, Scope
from qmesh_model.segments import Fault, Segment


class Operand(NamedTuple):
    """Elements that one operand names.

    Attributes:
        indices: indices in the circuit.
        scalar: one element, which is broadcast against registers.
        start: offset in the text.
        end: offset after it.
    """

    indices: tuple[int, ...]
    scalar: bool
    start: int
    end: int


def read_operand(
    segment: Segment, scope: Scope, limits: Budgets, *, kind: str, version2: bool = False
) -> Operand:
    """Reads one operand at the cursor.

    Args:
        segment: statement.
        scope: names.
        limits: bounds.
        kind: "qubit" or "bit".
        version2: ranges, sets and negative indices are refused.

    Raises:
        Fault: on any error of syntax, name or index.
    """
    start, end = segment.start, segment.end
    if segment.kind == "$":
        raise Fault("QASM318", "physical qubits are not supported", start, end, hint="declare `qubit[n] q;`")
    after_comma = segment.at > 0 and segment.kinds[segment.at - 1] == ","
    example = "q[0]" if kind == "qubit" else "c[0]"
    hint = (
        "remove the `,`, or name another operand after it" if after_comma else f"name one, as in `{example}`"
    )
    name = segment.expect("id", f"a {kind}", hint=hint)
    entry = scope.find(name, start, end, wanted=kind)
    register = entry.register
    if register is None:
        raise segment.unexpected("a register")
    if segment.kind != "[":
        return Operand(entry.whole(), entry.scalar, start, end)
    if entry.scalar:
        raise Fault(
            "QASM225",
            f"{quoted(name)} is a single {kind} and has no elements",
            start,
            segment.end,
            other=(entry.start, entry.end, "declared here"),
            hint=f"write `{name}`",
        )
    segment.take()
    reader = _Indices(segment, scope, limits, register, entry, version2=version2)
    indices, scalar = reader.read()
    segment.expect("]", "`]`", hint="close the index with `]`")
    if entry.elements is not None:
        found = tuple([entry.elements[i] for i in indices])
    else:
        found = tuple([register.offset + i for i in indices])
    return Operand(found, scalar, start, segment.last_end)


class _Indices:
    """Reads what stands between the brackets of one register."""

    __slots__ = ("entry", "limits", "register", "scope", "segment", "version2")

    def __init__(
        self,
        segment: Segment,
        scope: Scope,
        limits: Budgets,
        register: Register,
        entry: Declared,
        *,
        version2: bool,
    ) -> None:
        self.segment = segment
        self.scope = scope
        self.limits = limits
        self.register = register
        self.entry = entry
        self.version2 = version2

    def read(self) -> tuple[list[int], bool]:
        segment = self.segment
        start = segment.start
        if segment.kind == "{":
            self._only3(start, "an index set")
            return self._set(), False
        first = None if segment.kind == ":" else self._index()
        if segment.kind != ":":
            if first is None:
                raise segment.unexpected("an index")
            return [first], True
        self._only3(start, "a range")
        return self._range(start, first), False

    def _only3(self, start: int, what: str) -> None:
        if self.version2:
            raise Fault(
                "QASM208",
                f"{what} needs OpenQASM 3",
                start,
                self.segment.end,
                hint="begin the text with `OPENQASM 3.0;`",
            )

    def _index(self) -> int:
        start = self.segment.start
        value = read_integer(self.segment, self.scope, self.limits)
        size = self.register.size
        if not -size <= value < size or (self.version2 and value < 0):
            raise Fault(
                "QASM215",
                f"index {value} is outside of `{self.register.name}`, which has {size} element{'s' * (size != 1)}",
                start,
                self.segment.last_end,
                other=(self.entry.start, self.entry.end, "declared here"),
                hint=f"indices run from 0 to {size - 1}"
                + ("; OpenQASM 2 has no negative ones" if value < 0 and self.version2 else ""),
            )
        return value % size

    def _set(self) -> list[int]:
        segment = self.segment
        segment.take()
        found = [self._index()]
        while segment.accept(","):
            found.append(self._index())
        segment.expect("}", "`}`")
        return found

    def _range(self, start: int, first: int | None) -> list[int]:
        """`a:b` and `a:step:b`, both ends included, as OpenQASM 3 has it."""
        segment = self.segment
        segment.take()
        size, step = self.register.size, 1
        last = None if segment.kind == "]" else self._bound()
        if segment.kind == ":":
            segment.take()
            step, last = 1 if last is None else last, (None if segment.kind == "]" else self._bound())
        if step == 0:
            raise Fault(
                "QASM215", "the step of a range is not 0", start, segment.last_end, hint="write `[0:2:6]`"
            )
        low = (0 if step > 0 else size - 1) if first is None else first
        high = (size - 1 if step > 0 else 0) if last is None else (last + size if last < 0 else last)
        if not 0 <= high < size:
            raise Fault(
                "QASM215",
                f"the range ends outside of `{self.register.name}`, which has {size} elements",
                start,
                segment.last_end,
                other=(self.entry.start, self.entry.end, "declared here"),
                hint=f"both ends are included: the last index is {size - 1}",
            )
        found = list(range(low, high + (1 if step > 0 else -1), step))
        if not found:
            raise Fault(
                "QASM215", "the range is empty", start, segment.last_end, hint="write the smaller index first"
            )
        return found

    def _bound(self) -> int:
        return read_integer(self.segment, self.scope, self.limits)


def read_operands(
    segment: Segment, scope: Scope, limits: Budgets, *, kind: str = "qubit", version2: bool = False
) -> list[Operand]:
    """Reads operands separated by commas."""
    found = [read_operand(segment, scope, limits, kind=kind, version2=version2)]
    while segment.accept(","):
        found.append(read_operand(segment, scope, limits, kind=kind, version2=version2))
    return found


def broadcast_size(operands: list[Operand]) -> int:
    """How many operations operands stand for when registers are broadcast.

    Raises:
        Fault: when registers differ in size.
    """
    size, first = 1, None
    for operand in operands:
        if operand.scalar:
            continue
        if first is None:
            first, size = operand, len(operand.indices)
        elif len(operand.indices) != size:
            raise Fault(
                "QASM218",
                f"registers of {size} and {len(operand.indices)} elements cannot be paired",
                operand.start,
                operand.end,
                other=(first.start, first.end, f"{size} elements"),
                hint="name as many elements on both sides",
            )
    return size


def broadcast(operands: list[Operand]) -> list[tuple[int, ...]]:
    """Operands of each operation.

    Raises:
        Fault: when registers differ in size, or one operation names a qubit twice.
    """
    size = broadcast_size(operands)
    columns = [operand.indices * size if operand.scalar else operand.indices for operand in operands]
    rows = list(zip(*columns, strict=True))
    for row in rows:
        if len(set(row)) != len(row):
            raise duplicate(operands, row)
    return rows


def duplicate(operands: list[Operand], row: tuple[int, ...]) -> Fault:
    """The fault for a qubit that one operation names twice."""
    place = next(i for i, qubit in enumerate(row) if qubit in row[:i])
    again, before = operands[place], operands[row.index(row[place])]
    return Fault(
        "QASM216",
        "one operation names the same qubit twice",
        again.start,
        again.end,
        other=(before.start, before.end, "first named here"),
        hint="the operands are different qubits",
    )
