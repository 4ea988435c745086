"""Reads the condition of an `if` by precedence with an explicit stack."""

from __future__ import annotations

from qmesh_model.builder import Builder
from qmesh_model.circuit import BitVersion, Comparison, Condition, ConditionStep, Logical, RegisterComparison
from qmesh_model.expressions import Fail
from qmesh_model.lexer import Token
from qmesh_model.limits import Limits
from qmesh_model.operands import Declared, Scope

_COMPARISONS = {
    "==": Comparison.EQUAL,
    "!=": Comparison.NOT_EQUAL,
    "<": Comparison.LESS,
    "<=": Comparison.LESS_EQUAL,
    ">": Comparison.GREATER,
    ">=": Comparison.GREATER_EQUAL,
}
_LOGICAL = {"||": (1, Logical.OR), "^": (2, Logical.XOR), "&&": (3, Logical.AND), "!": (4, Logical.NOT)}
_SAME = {"|": "||", "&": "&&", "~": "!"}


class ConditionReader:
    """Reads one condition out of a token list."""

    def __init__(self, tokens: list[Token], limits: Limits, scope: Scope, builder: Builder, fail: Fail) -> None:
        """Takes the tokens, the registers, and the builder that knows the versions of bits."""
        self._tokens = tokens
        self._limits = limits
        self._scope = scope
        self._builder = builder
        self._fail = fail

    def read(self, position: int) -> tuple[Condition, int]:
        """The condition, and the position of the parenthesis that ends it."""
        output: list[ConditionStep] = []
        operators: list[tuple[str, Token]] = []
        start, depth, wants_value = position, 0, True
        while True:
            token = self._tokens[position]
            if position - start > self._limits.expression_tokens:
                raise self._fail("MESH107", "the condition is too long", token, "")
            text = _SAME.get(token.text, token.text)
            if wants_value:
                if text == "!":
                    operators.append((text, token))
                elif text == "(":
                    depth += 1
                    if depth > self._limits.nesting:
                        message = f"parentheses nest at most {self._limits.nesting} deep"
                        raise self._fail("MESH104", message, token, "")
                    operators.append((text, token))
                else:
                    position = self._atom(position, output)
                    wants_value = False
                    continue
            elif text == ")":
                if not depth:
                    break
                depth -= 1
                self._unwind(output, operators)
                operators.pop()
            elif text in _LOGICAL and text != "!":
                self._operator(text, token, output, operators)
                wants_value = True
            else:
                raise self._fail("QASM203", f"expected ')' or an operator, found '{token.text}'", token, "")
            position += 1
        self._unwind(output, operators)
        return Condition(tuple(output)), position

    def _unwind(self, output: list[ConditionStep], operators: list[tuple[str, Token]]) -> None:
        while operators and operators[-1][0] != "(":
            output.append(_LOGICAL[operators.pop()[0]][1])

    def _operator(
        self, text: str, token: Token, output: list[ConditionStep], operators: list[tuple[str, Token]]
    ) -> None:
        rank = _LOGICAL[text][0]
        while operators and operators[-1][0] != "(" and _LOGICAL[operators[-1][0]][0] >= rank:
            output.append(_LOGICAL[operators.pop()[0]][1])
        operators.append((text, token))

    def _atom(self, position: int, output: list[ConditionStep]) -> int:
        """A bit, a register comparison, or true/false; returns the position after it."""
        token = self._tokens[position]
        if token.text in {"true", "false"}:
            output.append(RegisterComparison((-1,), Comparison.EQUAL, 0 if token.text == "true" else 1))
            return position + 1
        if token.kind == "int":
            return self._reversed(position, output)
        register = self._scope.find(token.text) if token.kind == "name" else None
        if register is None:
            raise self._fail("QASM311", f"'{token.text}' is no classical bit", token, "conditions read classical bits")
        if register.quantum:
            raise self._fail("QASM308", f"'{token.text}' is a qubit; conditions read classical bits", token, "")
        bits, position = self._bits(register, position + 1)
        comparison = _COMPARISONS.get(self._tokens[position].text)
        if comparison is None:
            if len(bits) != 1:
                raise self._fail("QASM311", f"compare register '{token.text}' with a number", token,
                                 f"write {token.text} == 1")
            output.append(BitVersion(bits[0]))
            return position
        value, position = self._number(position + 1)
        output.append(RegisterComparison(bits, comparison, value))
        return position

    def _reversed(self, position: int, output: list[ConditionStep]) -> int:
        """`3 == c` reads as `c == 3`."""
        flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
        value, after = self._number(position)
        operator = flipped.get(self._tokens[after].text)
        if operator is None:
            raise self._fail("QASM311", "a number alone is no condition", self._tokens[position], "")
        name = self._tokens[after + 1]
        register = self._scope.find(name.text)
        if register is None or register.quantum:
            raise self._fail("QASM311", f"'{name.text}' is no classical bit", name, "")
        bits, end = self._bits(register, after + 2)
        output.append(RegisterComparison(bits, _COMPARISONS[operator], value))
        return end

    def _bits(self, register: Declared, position: int) -> tuple[tuple[int, ...], int]:
        """Versions of the bits named, least significant first, as they stand here."""
        if self._tokens[position].text != "[":
            whole = range(register.offset, register.offset + register.size)
            return tuple(self._builder.version(bit) for bit in whole), position
        negative = self._tokens[position + 1].text == "-"
        at = position + (2 if negative else 1)
        token = self._tokens[at]
        if token.kind != "int" or self._tokens[at + 1].text != "]":
            raise self._fail("QASM311", "a condition names a bit by one number", token, "write c[0]")
        index = -int(token.text) if negative else int(token.text)
        if not -register.size <= index < register.size:
            message = f"index {index} is outside of a register of size {register.size}"
            raise self._fail("QASM303", message, token, f"use 0 to {register.size - 1}")
        return (self._builder.version(register.offset + index % register.size),), at + 2

    def _number(self, position: int) -> tuple[int, int]:
        token = self._tokens[position]
        if token.text in {"true", "false"}:
            return int(token.text == "true"), position + 1
        if token.kind != "int":
            raise self._fail("QASM311", f"expected a number to compare with, found '{token.text}'", token, "")
        return int(token.text), position + 1
