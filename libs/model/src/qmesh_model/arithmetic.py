"""Syntax of arithmetic expressions: precedence by two explicit stacks, folded as it is read.

Integers stay integers while they are exact; `/` of two integers is exact division, as OpenQASM 2 has it and
as authors of `pi/2*1/3` mean it.
"""

from __future__ import annotations

import math
from typing import Final

from qmesh_model.budgets import Budgets
from qmesh_model.parameters import (
    UNARY,
    Expression,
    Parameter,
    ParameterError,
    TooLarge,
    apply_binary,
    apply_unary,
)
from qmesh_model.quoting import quoted
from qmesh_model.scope import Scope
from qmesh_model.segments import Fault, Lexer, Segment, integer

type Value = int | float | Expression
"""Value of an expression; integers are kept apart for indices."""

CONSTANTS: Final = {
    "pi": math.pi,
    "π": math.pi,
    "tau": math.tau,
    "τ": math.tau,
    "euler": math.e,
    "ℇ": math.e,
}
_FUNCTIONS: Final = {name: name for name in UNARY if name != "neg"} | {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
}
_TWO_ARGUMENTS: Final = {"pow": "**", "mod": "%"}
_PRECEDENCE: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "neg": 3, "**": 4}
_EXACT: Final = 1 << 53
_ENDS: Final = frozenset({"]", ")", ",", ":", "}"})
_VALUES: Final = frozenset({"const", "input", "angle"})
_UNNAMED: Final = frozenset({"(", ","})


class _Reader:
    """State of one expression: values, operators with their offsets, and where each parenthesis began."""

    __slots__ = ("limits", "operators", "power", "scope", "segment", "values")

    def __init__(self, segment: Segment, scope: Scope, limits: Budgets, *, caret_is_power: bool) -> None:
        self.segment = segment
        self.scope = scope
        self.limits = limits
        self.power = {"**", "^"} if caret_is_power else {"**"}
        self.values: list[Value] = []
        self.operators: list[tuple[str, int, int]] = []

    def read(self) -> Value:
        operand_next = True
        depth = 0
        while True:
            if len(self.operators) > 4 * self.limits.nesting or depth > self.limits.nesting:
                raise Fault(
                    "MESH104",
                    f"the expression is nested too deeply; `nesting` allows {self.limits.nesting}",
                    self.segment.start,
                    self.segment.end,
                )
            if operand_next:
                opened = self._operand()
                depth += max(opened, 0)
                operand_next = opened >= 0
                continue
            kind = self.segment.kind
            if kind == ")" and depth:
                self._close()
                depth -= 1
            elif kind == "," and depth and self._in_pair():
                self._next_argument()
                operand_next = True
            elif kind in self.power or kind in _PRECEDENCE:
                self._operator("**" if kind in self.power else kind)
                operand_next = True
            else:
                break
        if depth:
            raise self._unclosed()
        self._reduce(0)
        return self.values[0]

    def _unclosed(self) -> Fault:
        """The fault for a parenthesis that nothing closes."""
        fault = self.segment.unexpected("`)`", hint="close the parenthesis")
        name, start, end = next(entry for entry in reversed(self.operators) if entry[0] not in _PRECEDENCE)
        fault.other = (start, end, f"{quoted(name)} begins here" if name not in _UNNAMED else "opened here")
        return fault

    def _operand(self) -> int:
        """Reads one operand (-1), or opens a parenthesis (1), or steps over a sign (0)."""
        segment = self.segment
        kind, start = segment.kind, segment.start
        if kind == "int":
            self.values.append(integer(segment.take()))
        elif kind == "float":
            value = float(segment.take())
            if not math.isfinite(value):
                raise Fault("QASM219", "the number is not finite", start, segment.last_end)
            self.values.append(value)
        elif kind == "id":
            return self._name()
        elif kind == "(":
            segment.take()
            self.operators.append(("(", start, start + 1))
            return 1
        elif kind == "-":
            segment.take()
            self.operators.append(("neg", start, start + 1))
            return 0
        elif kind == "+":
            segment.take()
            return 0
        else:
            raise segment.unexpected("a value")
        return -1

    def _name(self) -> int:
        segment = self.segment
        start, end = segment.start, segment.end
        name = segment.take()
        if segment.kind == "(" and (name in _FUNCTIONS or name in _TWO_ARGUMENTS):
            segment.take()
            self.operators.append((name, start, end))
            return 1
        if name in CONSTANTS and self.scope.lookup(name) is None:
            self.values.append(CONSTANTS[name])
        elif name in _FUNCTIONS or name in _TWO_ARGUMENTS:
            raise segment.unexpected(f"`(` after {name}")
        elif segment.kind == "(" and name not in self.scope.broken:
            raise Fault(
                "QASM210",
                f"{quoted(name)} is no known function",
                start,
                end,
                hint="sin, cos, tan, exp, ln, sqrt, arcsin, arccos, arctan",
            )
        else:
            self.values.append(self.scope.find(name, start, end, wanted="const input angle").value)
        return -1

    def _operator(self, name: str) -> None:
        precedence = _PRECEDENCE[name]
        self._reduce(precedence + 1 if name == "**" else precedence)
        self.operators.append((name, self.segment.start, self.segment.end))
        self.segment.take()

    def _reduce(self, precedence: int) -> None:
        while self.operators and _PRECEDENCE.get(self.operators[-1][0], -1) >= precedence:
            name, start, end = self.operators.pop()
            right = self.values.pop()
            left = None if name == "neg" else self.values.pop()
            self.values.append(_apply(name, left, right, start, end))

    def _in_pair(self) -> bool:
        opener = next((entry for entry in reversed(self.operators) if entry[0] not in _PRECEDENCE), None)
        return opener is not None and opener[0] in _TWO_ARGUMENTS

    def _next_argument(self) -> None:
        self._reduce(0)
        self.segment.take()
        self.operators.append((",", self.segment.start, self.segment.end))

    def _close(self) -> None:
        self._reduce(0)
        name, start, end = self.operators.pop()
        if name == ",":
            name, start, end = self.operators.pop()
            if name not in _TWO_ARGUMENTS:
                raise self.segment.unexpected("`)`")
            right = self.values.pop()
            self.values.append(_apply(_TWO_ARGUMENTS[name], self.values.pop(), right, start, end))
        elif name in _TWO_ARGUMENTS:
            raise self.segment.unexpected(f"`,`: {name} takes two values")
        elif name not in _UNNAMED:
            self.values.append(_apply(_FUNCTIONS[name], None, self.values.pop(), start, end))
        self.segment.take()


def _apply(name: str, left: Value | None, right: Value, start: int, end: int) -> Value:
    try:
        if left is None:
            if name == "neg" and isinstance(right, int):
                return -right
            result = apply_unary(name, _parameter(right))
            whole = name in {"floor", "ceiling"}
        else:
            result = apply_binary(name, _parameter(left), _parameter(right))
            whole = isinstance(left, int) and isinstance(right, int)
    except TooLarge as error:
        raise Fault("MESH107", f"{error} (`expression_tokens`)", start, end) from error
    except ParameterError as error:
        raise Fault("QASM219", str(error), start, end) from error
    if whole and not isinstance(result, Expression) and result.is_integer() and abs(result) < _EXACT:
        return int(result)
    return result


def _parameter(value: Value) -> Parameter:
    return value if isinstance(value, Expression) else float(value)


def read_value(segment: Segment, scope: Scope, limits: Budgets, *, caret_is_power: bool = False) -> Value:
    """Reads one expression at the cursor.

    Raises:
        Fault: on any error of syntax, name or value.
    """
    value = _short(segment, scope)
    if value is not None:
        return value
    return _Reader(segment, scope, limits, caret_is_power=caret_is_power).read()


def _short(segment: Segment, scope: Scope) -> Value | None:
    """The usual lone number or name, or a name and a number apart: what needs no stacks."""
    kinds, texts, at = segment.kinds, segment.texts, segment.at
    kind = kinds[at]
    follows = kinds[at + 1] if at + 1 < len(kinds) else ""
    if kind == "int" and follows in _ENDS:
        segment.at += 1
        return integer(texts[at])
    entry = scope.lookup(texts[at]) if kind == "id" else None
    if entry is None or entry.kind not in _VALUES:
        return None
    if follows in _ENDS:
        segment.at += 1
        return entry.value
    apart = follows in {"+", "-"} and kinds[at + 2] == "int" and kinds[at + 3] in _ENDS
    if not apart or not isinstance(entry.value, int):
        return None
    segment.at += 3
    other = integer(texts[at + 2])
    return entry.value + (other if follows == "+" else -other)


def read_parameter(
    segment: Segment, scope: Scope, limits: Budgets, *, caret_is_power: bool = False
) -> Parameter:
    """Reads one expression as a gate parameter."""
    return _parameter(read_value(segment, scope, limits, caret_is_power=caret_is_power))


def read_integer(segment: Segment, scope: Scope, limits: Budgets) -> int:
    """Reads one constant integer expression.

    Raises:
        Fault: also when the value is symbolic or no integer.
    """
    start = segment.start
    value = read_value(segment, scope, limits)
    if isinstance(value, Expression):
        raise Fault("QASM320", "a constant is needed here, not an input", start, segment.last_end)
    if isinstance(value, float):
        raise Fault("QASM220", f"an integer is needed here, not {value!r}", start, segment.last_end)
    return value


def number_of(text: str) -> float:
    """Value of one expression that stands alone, as in `theta=pi/4` on a command line.

    Args:
        text: constants, functions and operators of OpenQASM 3; no names of a circuit.

    Raises:
        ParameterError: when it is no expression, or has no finite value.
    """
    segment = Lexer(text + ";", Budgets()).segment()
    try:
        if segment is None or segment.fault is not None:
            raise ParameterError(f"{quoted(text)} is no number and no expression")
        value = read_parameter(segment, Scope(), Budgets())
        segment.finish()
    except Fault as fault:
        raise ParameterError(f"{quoted(text)}: {fault.message}") from None
    if isinstance(value, Expression) or segment.end != len(text) + 1:
        raise ParameterError(f"{quoted(text)} is no single expression")
    return value
