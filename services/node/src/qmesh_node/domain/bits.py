"""Bit columns over shots, and conditions over them."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_node.domain.errors import InvalidBlockError

Column = NDArray[np.bool_]

_COMPARE = {
    circuit.COMPARISON_EQUAL: np.equal,
    circuit.COMPARISON_NOT_EQUAL: np.not_equal,
    circuit.COMPARISON_LESS: np.less,
    circuit.COMPARISON_LESS_EQUAL: np.less_equal,
    circuit.COMPARISON_GREATER: np.greater,
    circuit.COMPARISON_GREATER_EQUAL: np.greater_equal,
}


def pack(column: Column) -> bytes:
    """One bit a shot, least significant bit of the first byte first."""
    return np.packbits(column, bitorder="little").tobytes()


def unpack(bits: bytes, shots: int) -> Column:
    """The inverse of `pack`.

    Raises:
        InvalidBlockError: the bytes do not have one bit a shot.
    """
    if len(bits) != (shots + 7) // 8:
        raise InvalidBlockError(f"a bit column has {len(bits)} bytes, expected {(shots + 7) // 8}")
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=shots, bitorder="little").astype(np.bool_)


def columns_of(messages: Iterable[gate.BitColumn], shots: int) -> dict[int, Column]:
    """Columns by version; a digest that does not match is refused."""
    result = {}
    for message in messages:
        if message.digest and hashlib.sha256(message.bits).digest() != message.digest:
            raise InvalidBlockError(f"the digest of bit column {message.version} does not match")
        result[message.version] = unpack(message.bits, shots)
    return result


def message_of(version: int, column: Column) -> gate.BitColumn:
    """A column as it travels."""
    bits = pack(column)
    return gate.BitColumn(version=version, bits=bits, digest=hashlib.sha256(bits).digest())


def _version(columns: Mapping[int, Column], version: int, shots: int) -> Column:
    if version < 0:
        return np.zeros(shots, dtype=np.bool_)
    if version not in columns:
        raise InvalidBlockError(f"bit version {version} is read but neither given nor written before")
    return columns[version]


def evaluate(condition: circuit.Condition, columns: Mapping[int, Column], shots: int) -> Column:
    """Truth of a condition for each shot: shape (shots,).

    Raises:
        InvalidBlockError: the condition is malformed or reads what is not there.
    """
    stack: list[Column] = []
    try:
        for token in condition.tokens:
            kind = token.WhichOneof("token")
            if kind == "version":
                stack.append(_version(columns, token.version, shots))
            elif kind == "comparison":
                stack.append(_compare(token.comparison, columns, shots))
            elif token.operator == circuit.LOGICAL_OPERATOR_NOT:
                stack.append(~stack.pop())
            elif token.operator == circuit.LOGICAL_OPERATOR_AND:
                stack.append(stack.pop() & stack.pop())
            elif token.operator == circuit.LOGICAL_OPERATOR_OR:
                stack.append(stack.pop() | stack.pop())
            elif token.operator == circuit.LOGICAL_OPERATOR_XOR:
                stack.append(stack.pop() ^ stack.pop())
            else:
                raise InvalidBlockError("a condition has an unknown operator")
    except IndexError:
        raise InvalidBlockError("a condition takes more values than it has") from None
    if len(stack) != 1:
        raise InvalidBlockError("a condition does not end in one value")
    return stack[0]


def _compare(comparison: circuit.RegisterComparison, columns: Mapping[int, Column], shots: int) -> Column:
    if comparison.comparison not in _COMPARE:
        raise InvalidBlockError("a condition has an unknown comparison")
    value = np.zeros(shots, dtype=np.uint64)
    for index, version in enumerate(comparison.versions):
        value |= _version(columns, version, shots).astype(np.uint64) << np.uint64(index)
    result: Column = _COMPARE[comparison.comparison](value, np.uint64(comparison.value))
    return result
