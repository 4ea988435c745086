"""Building and evaluating the conditions of the normal form ("Bits" in docs/execution-model.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from qmesh_model.circuit import BitVersion, Comparison, Condition, Logical, RegisterComparison

MAX_STEPS: Final = 256
"""Steps that one condition may have (also the bound of the wire format)."""

NEVER_WRITTEN: Final = -1
"""Version of a bit before its first write; its value is 0."""


class ConditionTooLarge(ValueError):  # noqa: N818 - read as the fact that it states
    """A condition has more than `MAX_STEPS` steps."""


def joined(left: Condition, operator: Logical, right: Condition) -> Condition:
    """Both conditions under an operator of two operands.

    Raises:
        ConditionTooLarge: when the result has too many steps.
    """
    return bounded(Condition((*left.steps, *right.steps, operator)))


def bounded(condition: Condition) -> Condition:
    """The condition itself.

    Raises:
        ConditionTooLarge: when it has too many steps.
    """
    if len(condition.steps) > MAX_STEPS:
        raise ConditionTooLarge(f"a condition has more than {MAX_STEPS} steps")
    return condition


def evaluate(condition: Condition, column: Callable[[int], Any], false: Any = False) -> Any:
    """The truth value, for one shot or for columns of shots alike.

    Args:
        condition: the condition.
        column: value of a version; `bool`, or an array of booleans with one element a shot.
        false: what a bit that was never written is.

    Returns:
        What `&`, `|` and `^` of such values give.
    """
    true = false ^ True
    stack: list[Any] = []
    for step in condition.steps:
        if isinstance(step, BitVersion):
            stack.append(_bit(step.version, column, false))
        elif isinstance(step, RegisterComparison):
            stack.append(_compare(step, column, false, true))
        elif step is Logical.NOT:
            stack.append(stack.pop() ^ true)
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(_OPERATORS[step](left, right))
    return stack[0]


_OPERATORS: Final[dict[Logical, Callable[[Any, Any], Any]]] = {
    Logical.AND: lambda a, b: a & b,
    Logical.OR: lambda a, b: a | b,
    Logical.XOR: lambda a, b: a ^ b,
}


def _bit(version: int, column: Callable[[int], Any], false: Any) -> Any:
    return false if version == NEVER_WRITTEN else column(version)


def _compare(step: RegisterComparison, column: Callable[[int], Any], false: Any, true: Any) -> Any:
    """Ripple comparison from the least significant bit, so that registers of any width work on columns."""
    less, equal = false, true
    for k in range(max(len(step.versions), step.value.bit_length())):
        have = _bit(step.versions[k], column, false) if k < len(step.versions) else false
        if step.value >> k & 1:
            less, equal = (have ^ true) | less, equal & have
        else:
            less, equal = (have ^ true) & less, equal & (have ^ true)
    comparison = step.comparison
    if comparison in {Comparison.EQUAL, Comparison.NOT_EQUAL}:
        result = equal
    elif comparison in {Comparison.LESS, Comparison.GREATER_EQUAL}:
        result = less
    else:
        result = less | equal
    negative = comparison in {Comparison.NOT_EQUAL, Comparison.GREATER_EQUAL, Comparison.GREATER}
    return result ^ true if negative else result
