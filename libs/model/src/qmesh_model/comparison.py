"""Syntax of conditions: bits and registers compared with integers, joined by `!`, `&&`, `||`, `^`.

Responsible for text to `Condition`; two explicit stacks, as for arithmetic.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from qmesh_model.arithmetic import read_integer
from qmesh_model.budgets import Budgets
from qmesh_model.builder import Builder
from qmesh_model.circuit import BitVersion, Comparison, Condition, Logical, RegisterComparison
from qmesh_model.conditions import ConditionTooLarge, bounded, joined
from qmesh_model.operands import read_operand
from qmesh_model.quoting import quoted
from qmesh_model.scope import Scope
from qmesh_model.segments import Fault, Segment


class _Bits(NamedTuple):
    """Versions of bits that are not compared yet, least significant first."""

    versions: tuple[int, ...]
    scalar: bool


type _Value = _Bits | int | Condition

_COMPARISONS: Final = {
    "==": Comparison.EQUAL,
    "!=": Comparison.NOT_EQUAL,
    "<": Comparison.LESS,
    "<=": Comparison.LESS_EQUAL,
    ">": Comparison.GREATER,
    ">=": Comparison.GREATER_EQUAL,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_LOGICAL: Final = {"&&": Logical.AND, "||": Logical.OR, "^": Logical.XOR, "&": Logical.AND, "|": Logical.OR}
_PRECEDENCE: Final = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, "<=": 7, ">": 7, ">=": 7, "!": 8, "~": 8,
}  # fmt: skip
_VALUE_NEXT: Final = frozenset({"int", "str", "-", "+"})
_CASTS: Final = frozenset({"int", "uint", "bool", "float", "angle", "bit"})
_BITS_WORD: Final = 64


class ConditionReader:
    """Reads one condition between parentheses that the caller has opened."""

    __slots__ = ("builder", "limits", "operators", "scope", "segment", "values")

    def __init__(self, segment: Segment, scope: Scope, limits: Budgets, builder: Builder) -> None:
        self.segment = segment
        self.scope = scope
        self.limits = limits
        self.builder = builder
        self.values: list[_Value] = []
        self.operators: list[tuple[str, int, int]] = []

    def read(self) -> Condition:
        """The condition; the cursor stands at the closing parenthesis.

        Raises:
            Fault: on any error.
        """
        start = self.segment.start
        try:
            value = self._read()
            return bounded(_truth(value, start, self.segment.last_end))
        except ConditionTooLarge as error:
            raise Fault("MESH108", f"{error} (`condition_tokens`)", start, self.segment.last_end) from error

    def _read(self) -> _Value:
        segment, depth, operand_next = self.segment, 0, True
        while True:
            if len(self.operators) > 2 * self.limits.nesting or depth > self.limits.nesting:
                raise Fault(
                    "MESH104",
                    f"the condition is nested too deeply; `nesting` allows {self.limits.nesting}",
                    segment.start,
                    segment.end,
                )
            kind, start, end = segment.kind, segment.start, segment.end
            if operand_next and kind in {"(", "!", "~"}:
                segment.take()
                depth += kind == "("
                self.operators.append((kind, start, end))
            elif operand_next:
                self.values.append(self._operand())
                operand_next = False
            elif kind == ")" and depth:
                self._reduce(0)
                self.operators.pop()
                segment.take()
                depth -= 1
            elif kind in _PRECEDENCE and kind not in {"!", "~"}:
                self._reduce(_PRECEDENCE[kind])
                self.operators.append((kind, start, end))
                segment.take()
                operand_next = True
            else:
                break
        if depth or segment.kind != ")":
            hint = "compare with `==`" if segment.kind == "=" else "close the condition with `)`"
            raise segment.unexpected("`)`", hint=hint)
        self._reduce(0)
        return self.values[0]

    def _operand(self) -> _Value:
        segment = self.segment
        if segment.kind == "id" and segment.text in {"true", "false"}:
            return int(segment.take() == "true")
        entry = self.scope.names.get(segment.text) if segment.kind == "id" else None
        if segment.kind == "str":
            return self._bit_string()
        if segment.kind in _VALUE_NEXT or (entry is not None and entry.kind == "const"):
            return self._constant()
        if segment.kind != "id":
            raise segment.unexpected("a bit, a register or an integer")
        if segment.text in _CASTS:
            message = f"the cast {quoted(segment.text)} is not supported in a condition"
            hint = "compare the bit or the register itself, as in `c == 3`"
            raise Fault("QASM316", message, segment.start, segment.end, hint=hint)
        operand = read_operand(segment, self.scope, self.limits, kind="bit")
        return _Bits(self.builder.versions_of(operand.indices, operand.start, operand.end), operand.scalar)

    def _constant(self) -> int:
        segment = self.segment
        start = segment.start
        value = read_integer(segment, self.scope, self.limits)
        if value < 0 or value.bit_length() > _BITS_WORD:
            raise Fault("QASM316", f"a register holds no value {value}", start, segment.last_end)
        return value

    def _bit_string(self) -> int:
        segment = self.segment
        start, end = segment.start, segment.end
        digits = segment.take().strip('"').replace("_", "")
        if not digits or set(digits) - {"0", "1"} or len(digits) > _BITS_WORD:
            raise Fault("QASM316", "a bit string holds 1 to 64 digits 0 and 1", start, end)
        return int(digits, 2)

    def _reduce(self, precedence: int) -> None:
        while self.operators and _PRECEDENCE.get(self.operators[-1][0], -1) >= precedence:
            name, start, end = self.operators.pop()
            right = self.values.pop()
            if name in {"!", "~"}:
                if name == "~" and isinstance(right, _Bits) and not right.scalar:
                    raise Fault(
                        "QASM316",
                        "`~` of a register is not supported",
                        start,
                        end,
                        hint="compare the register",
                    )
                self.values.append(_truth(right, start, end).negated())
                continue
            left = self.values.pop()
            if name in _COMPARISONS:
                self.values.append(_compare(name, left, right, start, end))
            else:
                whole = [v for v in (left, right) if isinstance(v, _Bits) and not v.scalar]
                if name in {"^", "&", "|"} and whole:
                    raise Fault(
                        "QASM316",
                        f"`{name}` of registers is not supported",
                        start,
                        end,
                        hint="compare each register with an integer",
                    )
                self.values.append(
                    joined(_truth(left, start, end), _LOGICAL[name], _truth(right, start, end))
                )


def _truth(value: _Value, start: int, end: int) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, int):
        raise Fault(
            "QASM316",
            "this part of the condition reads no bit",
            start,
            end,
            hint="compare a bit or a register with it",
        )
    if value.scalar:
        return Condition((BitVersion(value.versions[0]),))
    return Condition((RegisterComparison(value.versions, Comparison.NOT_EQUAL, 0),))


def _compare(name: str, left: _Value, right: _Value, start: int, end: int) -> Condition:
    if isinstance(left, int):
        left, right, name = right, left, _MIRRORED.get(name, name)
    if isinstance(right, int):
        if isinstance(left, _Bits) and not left.scalar:
            return Condition((RegisterComparison(left.versions, _COMPARISONS[name], right),))
        if right in {0, 1} and name in {"==", "!="}:
            truth = _truth(left, start, end)
            return truth if (name == "==") == bool(right) else truth.negated()
        if isinstance(left, _Bits):
            return Condition((RegisterComparison(left.versions, _COMPARISONS[name], right),))
    elif name in {"==", "!="} and all(
        isinstance(v, Condition) or v.scalar for v in (left, right) if not isinstance(v, int)
    ):
        either = joined(_truth(left, start, end), Logical.XOR, _truth(right, start, end))
        return either if name == "!=" else either.negated()
    raise Fault(
        "QASM316",
        "this comparison is not supported",
        start,
        end,
        hint="compare a bit or a register with an integer",
    )
