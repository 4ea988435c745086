"""Arithmetic expressions over symbolic parameters, in postfix order so that nothing recurses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qmesh_model.errors import MeshError

Token = float | str  # a number, or ("symbol:" | "op:") + name

BINARY: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "**": lambda a, b: a**b,
}
UNARY: Mapping[str, Callable[[float], float]] = {
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
}
CONSTANTS: Mapping[str, float] = {
    "pi": math.pi,
    "π": math.pi,
    "tau": math.tau,
    "τ": math.tau,
    "euler": math.e,
    "ℇ": math.e,
}
MAX_TOKENS = 256


def apply_binary(operator: str, left: float, right: float) -> float:
    """Value of a binary operator.

    Raises:
        ValueError: there is no finite real value.
    """
    try:
        value = BINARY[operator](left, right)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(str(error)) from None
    return _finite(value)


def apply_unary(operator: str, value: float) -> float:
    """Value of a function or sign.

    Raises:
        ValueError: there is no finite real value.
    """
    try:
        result = UNARY[operator](value)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(str(error)) from None
    return _finite(result)


def _finite(value: complex) -> float:
    if isinstance(value, complex) or not math.isfinite(value):
        raise ValueError("the result is not a finite real number")
    return float(value)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbolic parameter inside an expression."""

    name: str


@dataclass(frozen=True, slots=True)
class Expression:
    """Postfix steps: numbers, symbols, and operators by name."""

    steps: tuple[float | Symbol | str, ...]

    @property
    def symbols(self) -> frozenset[str]:
        """Names of the parameters that it needs."""
        return frozenset(step.name for step in self.steps if isinstance(step, Symbol))

    def evaluate(self, values: Mapping[str, float]) -> float:
        """Value under a parameter set.

        Raises:
            MeshError: INVALID_ARGUMENT, when a symbol has no value or the result is not a finite number.
        """
        stack: list[float] = []
        try:
            for step in self.steps:
                if isinstance(step, Symbol):
                    stack.append(float(values[step.name]))
                elif isinstance(step, str) and step in BINARY:
                    right = stack.pop()
                    stack.append(apply_binary(step, stack.pop(), right))
                elif isinstance(step, str):
                    stack.append(apply_unary(step, stack.pop()))
                else:
                    stack.append(step)
            (result,) = stack
        except KeyError as missing:
            raise MeshError("INVALID_ARGUMENT", f"parameter {missing} has no value") from None
        except (ValueError, IndexError) as error:
            raise MeshError("INVALID_ARGUMENT", f"a parameter expression has no value: {error}") from None
        return result


Parameter = float | Expression
