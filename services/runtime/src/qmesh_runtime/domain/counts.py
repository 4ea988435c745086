"""Counts from packed bit columns, without any amplitude."""

from collections import Counter
from collections.abc import Mapping, Sequence

from qmesh.circuit.v1 import circuit_pb2 as circuit

# ASCII digits of each packed byte, least significant bit first.
_DIGITS = [bytes(48 + (value >> bit & 1) for bit in range(8)) for value in range(256)]


def digits(column: bytes, shots: int) -> bytes:
    """One ASCII digit a shot."""
    return b"".join([_DIGITS[value] for value in column])[:shots]


def final_columns(form: circuit.Circuit, columns: Mapping[int, bytes], shots: int) -> list[bytes]:
    """Packed column of the last version of every classical bit; a bit that was never written is 0."""
    zero = bytes((shots + 7) // 8)
    return [zero if version < 0 else columns[version] for version in form.final_versions]


def counts_of(form: circuit.Circuit, columns: Sequence[bytes], shots: int) -> dict[str, int]:
    """Counts by bit string as Qiskit prints them: last declared register leftmost, registers apart by a space.

    Args:
        form: the circuit in normal form.
        columns: packed column of every classical bit.
        shots: number of shots in the columns.
    """
    if not form.bit_registers:
        return {}
    width = len(columns) + len(form.bit_registers) - 1
    text = bytearray(b" " * (width * shots))
    place = 0
    for register in reversed(form.bit_registers):
        for index in reversed(range(register.size)):
            text[place::width] = digits(columns[register.offset + index], shots)
            place += 1
        place += 1  # the space between registers
    shown = text.decode("ascii")
    tally = Counter(shown[at : at + width] for at in range(0, len(shown), width))
    return {key: tally[key] for key in sorted(tally)}


def join_columns(slices: Sequence[tuple[bytes, int]]) -> bytes:
    """Joins packed columns of consecutive slices of shots."""
    if len(slices) == 1:
        return slices[0][0]
    value = 0
    offset = 0
    for column, shots in slices:
        value |= (int.from_bytes(column, "little") & ((1 << shots) - 1)) << offset
        offset += shots
    return value.to_bytes((offset + 7) // 8, "little")


def measured_qubits(form: circuit.Circuit) -> list[int]:
    """Qubits that any measurement reads, ascending."""
    return sorted({op.qubits[0] for op in form.operations if op.kind == circuit.OPERATION_KIND_MEASURE})
