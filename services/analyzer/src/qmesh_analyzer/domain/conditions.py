"""Truth of a condition in every branch at once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.errors import AnalysisError

Column = NDArray[np.bool_]

_WORD = 64
_COMPARE: Mapping[int, Callable[[Any, Any], Any]] = {
    circuit.COMPARISON_EQUAL: operator.eq,
    circuit.COMPARISON_NOT_EQUAL: operator.ne,
    circuit.COMPARISON_LESS: operator.lt,
    circuit.COMPARISON_LESS_EQUAL: operator.le,
    circuit.COMPARISON_GREATER: operator.gt,
    circuit.COMPARISON_GREATER_EQUAL: operator.ge,
}
_ABOVE = frozenset(
    {circuit.COMPARISON_NOT_EQUAL, circuit.COMPARISON_GREATER, circuit.COMPARISON_GREATER_EQUAL}
)
_COMBINE: Mapping[int, Callable[[Column, Column], Column]] = {
    circuit.LOGICAL_OPERATOR_AND: np.logical_and,
    circuit.LOGICAL_OPERATOR_OR: np.logical_or,
    circuit.LOGICAL_OPERATOR_XOR: np.logical_xor,
}


def holds(condition: circuit.Condition, bits: Mapping[int, Column], branches: int) -> Column:
    """Whether a condition is true in each branch; a version that was never written is 0.

    Raises:
        AnalysisError: the condition is no expression.
    """
    zero = np.zeros(branches, dtype=np.bool_)
    stack: list[Column] = []
    try:
        for token in condition.tokens:
            kind = token.WhichOneof("token")
            if kind == "version":
                stack.append(bits.get(token.version, zero))
            elif kind == "comparison":
                stack.append(
                    _compare(token.comparison, [bits.get(v, zero) for v in token.comparison.versions], zero)
                )
            elif token.operator == circuit.LOGICAL_OPERATOR_NOT:
                stack.append(~stack.pop())
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(_COMBINE[token.operator](left, right))
        (result,) = stack
    except (IndexError, KeyError, ValueError):
        raise AnalysisError("INVALID_ARGUMENT", "a condition is no expression over bits") from None
    return result


def _compare(comparison: circuit.RegisterComparison, columns: list[Column], zero: Column) -> Column:
    value = np.zeros(len(zero), dtype=np.uint64)
    for place, column in enumerate(columns[:_WORD]):
        value |= column.astype(np.uint64) << np.uint64(place)
    result: Column = _COMPARE[comparison.comparison](value, np.uint64(comparison.value))
    beyond = np.any(columns[_WORD:], axis=0) if len(columns) > _WORD else zero
    return np.where(beyond, comparison.comparison in _ABOVE, result)  # the constant has 64 bits
