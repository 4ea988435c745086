"""Truth of a condition in one history."""

from collections.abc import Mapping

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.errors import AnalysisError

_COMPARE = {
    circuit.COMPARISON_EQUAL: int.__eq__,
    circuit.COMPARISON_NOT_EQUAL: int.__ne__,
    circuit.COMPARISON_LESS: int.__lt__,
    circuit.COMPARISON_LESS_EQUAL: int.__le__,
    circuit.COMPARISON_GREATER: int.__gt__,
    circuit.COMPARISON_GREATER_EQUAL: int.__ge__,
}


def holds(condition: circuit.Condition, bits: Mapping[int, bool]) -> bool:
    """Whether a condition is true; a version that was never written is 0."""
    stack: list[bool] = []
    for token in condition.tokens:
        kind = token.WhichOneof("token")
        if kind == "version":
            stack.append(bits.get(token.version, False))
        elif kind == "comparison":
            value = sum(bits.get(v, False) << k for k, v in enumerate(token.comparison.versions))
            stack.append(bool(_COMPARE[token.comparison.comparison](value, token.comparison.value)))
        elif token.operator == circuit.LOGICAL_OPERATOR_NOT:
            stack.append(not stack.pop())
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(_combine(token.operator, left, right))
    if len(stack) != 1:
        raise AnalysisError("INVALID_CIRCUIT", "a condition does not end in one value")
    return stack[0]


def _combine(operator: int, left: bool, right: bool) -> bool:  # noqa: FBT001 - truth values are the subject
    if operator == circuit.LOGICAL_OPERATOR_AND:
        return left and right
    if operator == circuit.LOGICAL_OPERATOR_OR:
        return left or right
    return left != right
