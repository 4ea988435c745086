"""The common statement `name(params) q[i], r[j];` by one regular expression.

Responsible for speed only: whatever is not plainly right is left to the parser, which says what is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from qmesh_model import gates
from qmesh_model.arithmetic import read_integer, read_parameter
from qmesh_model.circuit import Register, Span
from qmesh_model.context import Context
from qmesh_model.gates import Gate
from qmesh_model.parameters import Parameter
from qmesh_model.segments import Fault, Lexer, Segment

_OPERAND: Final = r"([A-Za-z_]\w*+)[ \t]*+(?:\[([^\[\]{}:;,\n\"]{1,60}+)\][ \t]*+)?+"
_VALUE: Final = r"[^()\";{}\[\]\n]"
_BLANK: Final = r"(?:[ \t\n]++|//[^\n]*+)*+"
_STATEMENT: Final = re.compile(
    rf"{_BLANK}([A-Za-z_]\w*+)[ \t]*+(?:\(((?:{_VALUE}++|\({_VALUE}*+\))*+)\)[ \t]*+)?+"
    rf"{_OPERAND}(?:,[ \t]*+{_OPERAND})?+(?:,[ \t]*+{_OPERAND})?+;",
    re.ASCII,
)
_MEASURE: Final = re.compile(
    rf"{_BLANK}()(?:measure[ \t]++{_OPERAND}->[ \t]*+{_OPERAND}|{_OPERAND}=[ \t]*+measure[ \t]++{_OPERAND});",
    re.ASCII,
)
_NUMBER: Final = re.compile(
    r"[ \t]*+(-?)[ \t]*+(?:([0-9]++\.[0-9]*+(?:[eE][+-]?[0-9]++)?+|\.[0-9]++(?:[eE][+-]?[0-9]++)?+)"
    r"|(?:([1-9][0-9]{0,8})[ \t]*+\*[ \t]*+)?+pi(?:[ \t]*+/[ \t]*+([1-9][0-9]{0,8}))?+)[ \t]*+"
)
"""A decimal, or the fraction of pi that most angles are."""
_PARTS: Final = 2
_DIGITS: Final = 10
_KEPT: Final = 1_000
_RUN: Final = 2_000
"""Statements after which the parser looks at the clock."""


def plain_numbers(text: str) -> tuple[float, ...] | None:
    """Values of a list of decimals and fractions of pi; None when it holds anything else."""
    found = []
    for part in text.split(","):
        number = _NUMBER.fullmatch(part)
        if number is None:
            return None
        sign, decimal, factor, divisor = number.groups()
        if decimal is not None:
            value = float(decimal)
            if not math.isfinite(value):
                return None
        else:
            value = float(factor) * math.pi if factor else math.pi
            value = value / float(divisor) if divisor else value
        found.append(-value if sign else value)
    return tuple(found)


class FastPath:
    """Reads runs of plain gate statements.

    Attributes:
        scope_changed: names may have changed since the last run.
    """

    __slots__ = (
        "_callees",
        "_context",
        "_indices",
        "_known",
        "_lexer",
        "_params",
        "_registers",
        "_singles",
        "_texts",
        "scope_changed",
    )

    def __init__(self, lexer: Lexer, context: Context) -> None:
        self._lexer = lexer
        self._context = context
        self._callees: dict[str, Gate | None] = {}
        self._params: dict[str, tuple[Parameter, ...] | None] = {}
        self._indices: dict[str, int | None] = {}
        self._texts: dict[str, Segment | None] = {}
        self._registers: dict[str, Register] = {}
        self._singles: dict[str, int] = {}
        self._known = {"": 0, "=": 0}
        self.scope_changed = True

    def run(self) -> int:
        """Emits statements while they are plain; how many were."""
        context, lexer = self._context, self._lexer
        if not context.version:
            return 0
        if self.scope_changed:
            self._refresh()
        count = 0
        while count < _RUN:
            found = _STATEMENT.match(lexer.text, lexer.position)
            if found is None:
                found = _MEASURE.match(lexer.text, lexer.position)
                if found is None or not self._measure(found):
                    return count
            elif not self._gate(found):
                return count
            lexer.position = found.end()
            count += 1
        return count

    def forget(self) -> None:
        """Names have been hidden or uncovered, which their number does not show."""
        self.scope_changed = True
        self._registers, self._singles = {}, {}
        self._known = {"": 0, "=": 0}

    def forget_values(self) -> None:
        """Values of names have changed."""
        self._params.clear()
        self._indices.clear()

    def one(self, segment: Segment) -> bool:
        """Emits the gate at a segment's cursor, if it is plain."""
        if self.scope_changed:
            self._refresh()
        found = _STATEMENT.match(self._lexer.text, segment.start)
        return found is not None and found.end() == self._lexer.position and self._gate(found)

    def _refresh(self) -> None:
        self.scope_changed = False
        self._callees.clear()
        self._params.clear()
        self._indices.clear()
        self._add("", self._context.qubit_registers)
        self._add("=", self._context.bit_registers)

    def _add(self, prefix: str, declared: Sequence[Register]) -> None:
        """Takes the registers that are new, but for names that are hidden; `prefix` is their kind's."""
        names = self._context.scope.names
        for register in islice(declared, self._known[prefix], None):
            entry = names[register.name]
            if entry.register is register and entry.scalar:
                self._singles[prefix + register.name] = register.offset
            elif entry.register is register:
                self._registers[prefix + register.name] = register
        self._known[prefix] = len(declared)

    def _element(self, prefix: str, name: str | None, text: str | None) -> int:
        """A qubit or a bit of the circuit; -1 when the parser had better look at it."""
        if name is None:
            return -1
        if text is None:
            return self._singles.get(prefix + name, -1)
        register = self._registers.get(prefix + name)
        if register is None:
            return -1
        index = self._indices[text] if text in self._indices else self._integer(text)
        if index is None:
            return -1
        if index < 0:
            index = -1 if self._context.version2 else index + register.size
        return register.offset + index if 0 <= index < register.size else -1

    def _integer(self, text: str) -> int | None:
        """Value of an index that is an expression."""
        context = self._context
        if text.isdigit() and text.isascii():
            value = int(text) if len(text) <= context.limits.integer_digits else None
            self._indices[text] = value
            return value
        segment = self._texts[text] if text in self._texts else self._tokens(text)
        value = None
        if segment is not None:
            segment.at = 0
            try:
                value = read_integer(segment, context.scope, context.limits)
            except Fault:
                return None
            value = value if segment.kind == ";" else None
        self._indices[text] = value
        return value

    def _callee(self, name: str) -> Gate | None:
        scope = self._context.scope
        gate = None
        known = name in scope.library or name in gates.BUILTIN or name in gates.UNITARY_WORDS
        if known and name not in scope.names and name not in scope.broken:
            gate = gates.resolve(name)
        self._callees[name] = gate
        return gate

    def _gate(self, found: re.Match[str]) -> bool:
        name, text, *places = found.groups()
        gate = self._callees.get(name) or (None if name in self._callees else self._callee(name))
        if gate is None:
            return False
        qubits = []
        for at in range(0, _PARTS * gate.num_qubits, _PARTS):
            qubit = self._element("", places[at], places[at + 1]) if at < len(places) else -1
            if qubit < 0:
                return False
            qubits.append(qubit)
        more = _PARTS * gate.num_qubits
        if (more < len(places) and places[more] is not None) or len(set(qubits)) != len(qubits):
            return False
        params: tuple[Parameter, ...] | None = ()
        if text is not None:
            params = self._params[text] if text in self._params else self._parameters(text)
        if params is None or len(params) != gate.num_params:
            return False
        builder = self._context.builder
        start, end = found.start(1), found.end()
        if not self._room(len(qubits), start, end):
            return False
        line, column = self._lexer.locate(start)
        builder.span = Span(line, column, column + end - start)
        builder.gate(gate, params, tuple(qubits))
        return True

    def _measure(self, found: re.Match[str]) -> bool:
        _, *groups = found.groups()
        if groups[0] is not None:
            source, target = groups[:_PARTS], groups[_PARTS : 2 * _PARTS]
        elif self._context.version2:
            return False
        else:
            target, source = groups[2 * _PARTS : 3 * _PARTS], groups[3 * _PARTS :]
        qubit, bit = self._element("", *source), self._element("=", *target)
        if qubit < 0 or bit < 0:
            return False
        builder = self._context.builder
        start, end = found.start(1), found.end()
        if not self._room(1, start, end):
            return False
        line, column = self._lexer.locate(start)
        builder.span = Span(line, column, column + end - start)
        builder.measure(qubit, bit)
        return True

    def _room(self, operands: int, start: int, end: int) -> bool:
        """Counts one operation; False when a budget is spent, which the parser then says."""
        try:
            self._context.builder.reserve(1, operands, start, end)
        except Fault:
            return False
        return True

    def _parameters(self, text: str) -> tuple[Parameter, ...] | None:
        """Values of a parameter list; None when the parser had better look at it."""
        plain = plain_numbers(text) if self._context.limits.integer_digits >= _DIGITS else None
        if plain is not None:
            self._params[text] = plain
            return plain
        context = self._context
        segment = self._texts[text] if text in self._texts else self._tokens(text)
        values: tuple[Parameter, ...] | None = None
        if segment is not None:
            segment.at = 0
            found: list[Parameter] = []
            try:
                while True:
                    found.append(
                        read_parameter(
                            segment, context.scope, context.limits, caret_is_power=context.version2
                        )
                    )
                    if not segment.accept(","):
                        break
                values = tuple(found) if segment.kind == ";" else None
            except Fault:
                values = None
        self._params[text] = values
        return values

    def _tokens(self, text: str) -> Segment | None:
        """Tokens of a parameter list, kept while they are few: a loop reads the same text again."""
        segment = None
        if "//" not in text and "/*" not in text and text.strip():
            segment = Lexer(text + ";", self._context.limits).segment()
            if segment is not None and (segment.fault is not None or segment.kinds[-1] != ";"):
                segment = None
        if self._lexer.repeating and len(self._texts) < _KEPT:
            self._texts[text] = segment
        return segment
