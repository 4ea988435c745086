"""Bit columns over shots, and conditions over them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model import conditions
from qmesh_model.circuit import (
    BitVersion,
    Comparison,
    Condition,
    ConditionStep,
    Logical,
    RegisterComparison,
)
from qmesh_node.domain.errors import InvalidBlockError

Column = NDArray[np.bool_]


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


def evaluate(message: circuit.Condition, columns: Mapping[int, Column], shots: int) -> Column:
    """Truth of a condition for each shot: shape (shots,).

    Raises:
        InvalidBlockError: the condition is malformed or reads what is not there.
    """

    def column(version: int) -> Column:
        if version not in columns:
            raise InvalidBlockError(f"bit version {version} is read but neither given nor written before")
        return columns[version]

    result: Column = conditions.evaluate(condition_of(message), column, np.zeros(shots, dtype=np.bool_))
    return result


def condition_of(message: circuit.Condition) -> Condition:
    """The condition of a message.

    Raises:
        InvalidBlockError: it does not end in one value, has too many steps, or a step makes no sense.
    """
    if len(message.tokens) > conditions.MAX_STEPS:
        raise InvalidBlockError(f"a condition has more than {conditions.MAX_STEPS} steps")
    steps: list[ConditionStep] = []
    depth = 0
    for token in message.tokens:
        try:
            step = _step(token)
        except ValueError:
            raise InvalidBlockError("a condition has an unknown operator or comparison") from None
        takes = 0 if not isinstance(step, Logical) else 1 if step is Logical.NOT else 2
        if depth < takes:
            raise InvalidBlockError("a condition takes more values than it has")
        depth += 1 - takes
        steps.append(step)
    if depth != 1:
        raise InvalidBlockError("a condition does not end in one value")
    return Condition(tuple(steps))


def _step(token: circuit.ConditionToken) -> ConditionStep:
    kind = token.WhichOneof("token")
    if kind == "version":
        return BitVersion(token.version)
    if kind == "comparison":
        comparison = token.comparison
        return RegisterComparison(
            tuple(comparison.versions), Comparison(comparison.comparison), comparison.value
        )
    return Logical(token.operator)


class Columns:
    """Columns of one block: those that it is given, those that it writes, those that it has to reproduce."""

    def __init__(self, given: Mapping[int, Column], recorded: Mapping[int, Column], shots: int) -> None:
        """Takes the columns that conditions read, and those that were recorded before."""
        self._known = dict(given)
        self._recorded = recorded
        self._shots = shots
        self.written: dict[int, Column] = {}

    def active(self, operation: gate.NodeOperation) -> Column | None:
        """The shots in which an operation happens; None means all."""
        if not operation.HasField("condition"):
            return None
        return evaluate(operation.condition, self._known, self._shots)

    def recorded(self, writes: Sequence[circuit.ClassicalWrite], number: int) -> Column | None:
        """What was recorded for one of an operation's writes, if anything was."""
        return self._recorded.get(writes[number].version) if number < len(writes) else None

    def write(self, write: circuit.ClassicalWrite, value: Column, active: Column | None) -> None:
        """Writes a new version; shots that are not active keep the previous one, 0 if none."""
        if active is not None:
            if write.previous < 0:
                value = value & active
            elif write.previous in self._known:
                value = np.where(active, value, self._known[write.previous])
            else:
                raise InvalidBlockError(f"bit version {write.previous} is kept but was not given")
        self._known[write.version] = value
        self.written[write.version] = value
