"""Symbolic gate parameters: arithmetic over named inputs, kept in postfix order so that no reader recurses.

Responsible for building, folding, substituting and evaluating expressions; not for their syntax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_TOKENS: Final = 256
"""Steps that one expression may have (also the bound of the wire format)."""


class Symbol(NamedTuple):
    """A named input."""

    name: str


type Token = float | Symbol | str
"""One postfix step: a number, a symbol, or the name of an operator or function."""

type Parameter = float | Expression
"""A gate parameter: known now (radians, or whatever the gate takes) or known when bound."""


class ParameterError(ValueError):
    """An expression has no finite value, is too large, or lacks a value for a symbol."""


class TooLarge(ParameterError):  # noqa: N818 - read as the fact that it states
    """An expression has more than `MAX_TOKENS` steps."""


def _modulo(left: float, right: float) -> float:
    return math.fmod(left, right) if left * right >= 0 else left - right * math.floor(left / right)


BINARY: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": _modulo,
    "**": math.pow,
}
"""Operators of two operands."""

UNARY: Final[Mapping[str, Callable[[float], float]]] = {
    "neg": lambda a: -a,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "exp": math.exp,
    "ln": math.log,
    "log": math.log,
    "sqrt": math.sqrt,
    "floor": math.floor,
    "ceiling": math.ceil,
    "abs": abs,
}
"""Functions and operators of one operand; `log` is the natural logarithm, as in OpenQASM 3."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An arithmetic expression over symbols.

    Attributes:
        tokens: the steps in postfix order, at most `MAX_TOKENS`; well formed by construction.
    """

    tokens: tuple[Token, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) > MAX_TOKENS:
            raise TooLarge(f"an expression has more than {MAX_TOKENS} steps")

    @classmethod
    def symbol(cls, name: str) -> Expression:
        """The expression that is one symbol."""
        return cls((Symbol(name),))

    @classmethod
    def of_tokens(cls, tokens: tuple[Token, ...]) -> Expression:
        """An expression from foreign steps, checked to be well formed.

        Raises:
            ParameterError: when the steps do not leave exactly one value.
        """
        depth = 0
        for token in tokens:
            if isinstance(token, str):
                if token not in UNARY and token not in BINARY:
                    raise ParameterError(f"unknown operator {token[:16]!r}")
                need = 1 if token in UNARY else 2
                if depth < need:
                    raise ParameterError("an operator lacks an operand")
                depth -= need - 1
            else:
                depth += 1
        if depth != 1:
            raise ParameterError("an expression leaves exactly one value")
        return cls(tokens)

    def symbols(self) -> frozenset[str]:
        """Names of the free symbols."""
        return frozenset(token.name for token in self.tokens if isinstance(token, Symbol))

    def substitute(self, values: Mapping[str, Parameter]) -> Parameter:
        """Replaces symbols; a number when no symbol is left.

        Raises:
            ParameterError: when the result has no finite value or too many steps.
        """
        stack: list[Parameter] = []
        for token in self.tokens:
            if isinstance(token, Symbol):
                stack.append(values.get(token.name, Expression((token,))))
            elif not isinstance(token, str):
                stack.append(token)
            elif token in UNARY:
                stack.append(apply_unary(token, stack.pop()))
            else:
                right = stack.pop()
                stack.append(apply_binary(token, stack.pop(), right))
        return stack[0]

    def evaluate(self, values: Mapping[str, float]) -> float:
        """The value with every symbol given.

        Raises:
            ParameterError: when a symbol has no value, or the result is not finite.
        """
        result = self.substitute(values)
        if isinstance(result, Expression):
            missing = ", ".join(sorted(result.symbols()))
            raise ParameterError(f"no value for {missing}")
        return result

    def __neg__(self) -> Parameter:
        return apply_unary("neg", self)

    def __str__(self) -> str:
        return render(self)


def finite(value: float) -> float:
    """The value, as a float.

    Raises:
        ParameterError: when it is infinite or not a number.
    """
    try:
        number = float(value)
    except OverflowError as error:
        raise ParameterError("the value is not finite") from error
    if not math.isfinite(number):
        raise ParameterError("the value is not finite")
    return number


def _tokens(value: Parameter) -> tuple[Token, ...]:
    return value.tokens if isinstance(value, Expression) else (float(value),)


def apply_unary(name: str, value: Parameter) -> Parameter:
    """One function or negation, folded when the operand is a number.

    Raises:
        ParameterError: when the value lies outside of the function's domain or is not finite.
    """
    if isinstance(value, Expression):
        return Expression((*value.tokens, name))
    try:
        return finite(UNARY[name](value))
    except ParameterError:
        raise
    except (ValueError, OverflowError) as error:
        raise ParameterError(f"{name} has no finite value here") from error


def apply_binary(name: str, left: Parameter, right: Parameter) -> Parameter:
    """One operator, folded when both operands are numbers.

    Raises:
        ParameterError: on division by zero, overflow or a complex power.
    """
    if isinstance(left, Expression) or isinstance(right, Expression):
        return Expression((*_tokens(left), *_tokens(right), name))
    try:
        return finite(BINARY[name](float(left), float(right)))
    except ZeroDivisionError as error:
        raise ParameterError("division by zero") from error
    except ParameterError:
        raise
    except (ValueError, OverflowError) as error:
        raise ParameterError(f"{name} has no finite value here") from error


def render(value: Parameter) -> str:
    """OpenQASM text of a parameter; every operation is in parentheses."""
    stack: list[str] = []
    for token in _tokens(value):
        if isinstance(token, Symbol):
            stack.append(token.name)
        elif not isinstance(token, str):
            stack.append(repr(float(token)))
        elif token == "neg":  # noqa: S105 - the name of an operator
            stack.append(f"(-{stack.pop()})")
        elif token in UNARY:
            stack.append(f"{token}({stack.pop()})")
        else:
            right = stack.pop()
            stack.append(f"({stack.pop()} {token} {right})")
    return stack[0]
