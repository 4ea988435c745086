"""Reads arithmetic expressions by precedence with an explicit stack, so that no text can drive a recursion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from qmesh_model.parameters import UNARY, Expression, Parameter, ParameterError, apply_binary, apply_unary
from qmesh_model.lexer import Token
from qmesh_model.limits import Limits

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "neg": 3, "**": 4}
_RIGHT = frozenset({"**", "neg"})
_FUNCTIONS = frozenset(UNARY) - {"neg"} | {"asin", "acos", "atan", "ceil"}
_SPELLED = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "ceil": "ceiling", "log": "ln"}

CONSTANTS: Mapping[str, float] = {
    "pi": math.pi,
    "\u03c0": math.pi,
    "tau": math.tau,
    "\u03c4": math.tau,
    "euler": math.e,
    "\u2107": math.e,
}
"""Constants of the language."""

Fail = Callable[[str, str, Token, str], Exception]


class ExpressionReader:
    """Reads one expression out of a token list."""

    def __init__(
        self,
        tokens: list[Token],
        limits: Limits,
        constants: Mapping[str, float],
        symbols: frozenset[str],
        fail: Fail,
    ) -> None:
        """Takes the tokens and the names that have values; `fail` makes the exception to raise."""
        self._tokens = tokens
        self._limits = limits
        self._constants = constants
        self._symbols = symbols
        self._fail = fail

    def read(self, position: int, stops: frozenset[str]) -> tuple[Parameter, int]:
        """Value or expression, and the position of the token that ended it.

        Reads to the first token out of `stops` at the expression's own level.
        """
        start = position
        output: list[Parameter] = []
        operators: list[tuple[str, Token]] = []
        wants_value = True
        depth = 0
        while True:
            token = self._tokens[position]
            if token.kind == "end" or (not depth and token.kind == "op" and token.text in stops):
                break
            if position - start > self._limits.expression_tokens:
                raise self._fail("MESH107", f"an expression has at most {self._limits.expression_tokens} parts", token, "")
            if token.text == "(" and token.kind == "op" and wants_value:
                depth += 1
                self._deep(depth, token)
                operators.append(("(", token))
            elif token.text == ")" and token.kind == "op" and depth and not wants_value:
                depth -= 1
                self._close(output, operators)
            elif wants_value:
                wants_value = self._value(token, position, output, operators)
            else:
                self._operator(token, output, operators)
                wants_value = True
            position += 1
        self._finish(start, position, output, operators, wants_value=wants_value)
        return output[0], position

    def _deep(self, depth: int, token: Token) -> None:
        if depth > self._limits.nesting:
            raise self._fail("MESH104", f"parentheses nest at most {self._limits.nesting} deep", token, "")

    def _value(self, token: Token, position: int, output: list[Parameter], operators: list[tuple[str, Token]]) -> bool:
        """Takes a value, sign or function; returns whether a value is still wanted."""
        if token.kind in {"int", "float"}:
            value = float(token.text)
            if value in {float("inf"), float("-inf")}:
                raise self._fail("QASM310", "this number is too great to be represented", token, "")
            output.append(value)
            return False
        if token.kind == "op" and token.text in {"+", "-"}:
            if token.text == "-":
                operators.append(("neg", token))
            return True
        if token.kind == "name":
            return self._name(token, position, output, operators)
        found = token.text or "the end of the text"
        raise self._fail("QASM203", f"expected a number, found '{found}'", token, "")

    def _name(self, token: Token, position: int, output: list[Parameter], operators: list[tuple[str, Token]]) -> bool:
        name = token.text
        if name in _FUNCTIONS:
            follower = self._tokens[position + 1]
            if follower.text != "(":
                raise self._fail("QASM203", f"function {name} needs parentheses", token, f"write {name}(...)")
            operators.append((_SPELLED.get(name, name), token))
            return True
        if name in self._constants:
            output.append(self._constants[name])
        elif name in self._symbols:
            output.append(Expression.symbol(name))
        elif name in CONSTANTS:
            output.append(CONSTANTS[name])
        else:
            raise self._fail("QASM301", f"'{name}' has no value here", token, "declare it as const or as input")
        return False

    def _operator(self, token: Token, output: list[Parameter], operators: list[tuple[str, Token]]) -> None:
        name = "**" if token.text == "^" else token.text
        if token.kind != "op" or name not in _PRECEDENCE:
            raise self._fail("QASM203", f"expected an operator, found '{token.text}'", token, "")
        rank = _PRECEDENCE[name]
        while operators and operators[-1][0] != "(":
            top = operators[-1][0]
            above = _PRECEDENCE.get(top, 9)
            if above < rank or (above == rank and name in _RIGHT):
                break
            self._emit(output, operators.pop())
        operators.append((name, token))

    def _close(self, output: list[Parameter], operators: list[tuple[str, Token]]) -> None:
        while operators[-1][0] != "(":
            self._emit(output, operators.pop())
        operators.pop()
        if operators and operators[-1][0] in UNARY and operators[-1][0] != "neg":
            self._emit(output, operators.pop())

    def _emit(self, output: list[Parameter], entry: tuple[str, Token]) -> None:
        """Applies an operator; numbers fold at once."""
        name, token = entry
        try:
            if name in _PRECEDENCE and name != "neg":
                right = output.pop()
                output.append(apply_binary(name, output.pop(), right))
            else:
                output.append(apply_unary(name, output.pop()))
        except ParameterError as error:
            raise self._fail("QASM310", f"this expression has no value: {error}", token, "") from None

    def _finish(
        self, start: int, position: int, output: list[Parameter], operators: list[tuple[str, Token]], *, wants_value: bool
    ) -> None:
        if wants_value:
            token = self._tokens[position]
            what = "a number is missing" if position > start else "expected a number"
            raise self._fail("QASM203", f"{what} before '{token.text or 'the end of the text'}'", token, "")
        while operators:
            entry = operators.pop()
            if entry[0] == "(":
                raise self._fail("QASM203", "this parenthesis is not closed", entry[1], "add )")
            self._emit(output, entry)
