"""A circuit drawn with characters: one wire a qubit, one double line a classical register, time from left to right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from qmesh_model import gates
from qmesh_model.circuit import BitVersion, Circuit, Kind, Operation, RegisterComparison
from qmesh_model.controls import BASES
from qmesh_model.parameters import Expression, Parameter, render

MOST_ROWS: Final = 40
MOST_COLUMNS: Final = 400
_LONGEST: Final = 14
_UNITS: Final = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_FRACTIONS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128)
_NEAR: Final = 1e-9
_EXCHANGED: Final = "\N{MULTIPLICATION SIGN}"


@dataclass(slots=True)
class _Column:
    """Operations drawn above each other; symbols by row, and rows through which a line goes."""

    symbols: dict[int, str] = field(default_factory=dict)
    links: dict[int, str] = field(default_factory=dict)
    crossed: set[int] = field(default_factory=set)


class _Rows:
    """Row of each qubit and classical register."""

    def __init__(self, circuit: Circuit) -> None:
        self.labels = [
            f"{register.name}[{k}]" if register.size > 1 else register.name
            for register in circuit.qubit_registers
            for k in range(register.size)
        ]
        self.qubits = len(self.labels)
        self.labels += [f"{r.name}/{r.size}" if r.size > 1 else r.name for r in circuit.bit_registers]
        self.of_bit = {
            bit: (self.qubits + number, bit - register.offset)
            for number, register in enumerate(circuit.bit_registers)
            for bit in range(register.offset, register.offset + register.size)
        }
        self.of_version = {w.version: self.of_bit[w.bit] for op in circuit.operations for w in op.writes}

    def read(self, operation: Operation) -> set[int]:
        """Rows that a condition reads."""
        found: set[int] = set()
        for step in operation.condition.steps if operation.condition is not None else ():
            versions: tuple[int, ...] = ()
            if isinstance(step, BitVersion):
                versions = (step.version,)
            elif isinstance(step, RegisterComparison):
                versions = step.versions
            found.update(self.of_version[v][0] for v in versions if v in self.of_version)
        return found


def draw(circuit: Circuit, width: int) -> list[str]:
    """Lines of the drawing, wrapped to a width; a note where the circuit is too large to be drawn whole."""
    rows = _Rows(circuit)
    if len(rows.labels) > MOST_ROWS:
        return [f"(not drawn: {len(rows.labels)} wires are more than {MOST_ROWS})"]
    columns, left_out = _columns(circuit, rows)
    margin = max(map(len, rows.labels), default=0) + 2
    lines: list[str] = []
    for part in _wrapped(columns, max(width - margin, 2 * _LONGEST)):
        lines += _lines(part, rows, margin)
        lines.append("")
    if left_out:
        lines.append(f"(the last {left_out} operations are not drawn)")
    elif lines:
        lines.pop()
    return lines


def _columns(circuit: Circuit, rows: _Rows) -> tuple[list[_Column], int]:
    """Operations as far left as their wires allow."""
    columns: list[_Column] = []
    free = [0] * len(rows.labels)
    for place, operation in enumerate(circuit.operations):
        symbols = _symbols(operation)
        reads = rows.read(operation)
        targets = {rows.of_bit[w.bit] for w in operation.writes}
        touched = [*operation.qubits, *reads, *(row for row, _ in targets)]
        low, high = min(touched), max(touched)
        at = max(free[low : high + 1])
        if at >= MOST_COLUMNS:
            return columns, len(circuit.operations) - place
        while len(columns) <= at:
            columns.append(_Column())
        column = columns[at]
        column.symbols |= symbols
        column.symbols |= dict.fromkeys(reads, "■")
        column.symbols |= {row: f"╩{bit}" if len(targets) == 1 else "╩" for row, bit in targets}
        for row in range(low, high):
            column.links[row] = "│" if row < max(operation.qubits) else "║"
        column.crossed |= set(range(low, high + 1)) - set(column.symbols)
        for row in range(low, high + 1):
            free[row] = at + 1
    return columns, 0


def _symbols(operation: Operation) -> dict[int, str]:  # noqa: PLR0911 - one way to draw each kind
    qubits = operation.qubits
    if operation.kind is Kind.BARRIER:
        return dict.fromkeys(qubits, "░")
    if operation.kind is Kind.MEASURE:
        return {qubits[0]: "┤M├"}
    if operation.name == "swap":
        return dict.fromkeys(qubits, _EXCHANGED)
    gate = gates.GATES.get(operation.name) if operation.kind is Kind.GATE else None
    if gate is not None and gate.controls:
        found = dict.fromkeys(qubits[: gate.controls], "●")
        base = BASES[gate.name]
        if base == "swap":
            return found | dict.fromkeys(qubits[gate.controls :], _EXCHANGED)
        symbol = {"x": "⊕", "z": "●"}.get(base) or _box("u" if base == "phased_u" else base, operation)
        return found | {qubits[-1]: symbol}
    box = _box(operation.name, operation)
    if len(qubits) == 1:
        return {qubits[0]: box}
    return {qubit: f"┤{box[1:-1]}:{place}├" for place, qubit in enumerate(qubits)}


def _box(name: str, operation: Operation) -> str:
    short = {"syndrome_extraction": "SYN", "distillation": "DIST", "distillation_dejmps": "DIST"}
    text = short.get(name, name.upper())
    if operation.kind is Kind.DELAY:
        text += f" {_duration(operation.parameters[0])}"
    elif operation.parameters:
        text += f"({','.join(map(_angle, operation.parameters))})"
    return f"┤{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}├"


def _duration(value: Parameter) -> str:
    """Seconds in the largest unit that leaves at least one."""
    if isinstance(value, Expression):
        return render(value)
    unit, scale = next(((u, s) for u, s in _UNITS if value >= s * (1 - _NEAR)), _UNITS[-1])
    return f"{value / scale:.4g}{unit}"


def _angle(value: Parameter) -> str:
    if isinstance(value, Expression):
        return render(value)
    for divisor in _FRACTIONS:
        times = value * divisor / math.pi
        if abs(times - round(times)) < _NEAR and round(times):
            count = round(times)
            top = {1: "π", -1: "-π"}.get(count, f"{count}π")
            return top if divisor == 1 else f"{top}/{divisor}"
    return f"{value:.3g}"


def _wrapped(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    part: list[_Column] = []
    used = 0
    for column in columns:
        size = _size(column)
        if part and used + size > width:
            yield part
            part, used = [], 0
        part.append(column)
        used += size
    if part:
        yield part


def _size(column: _Column) -> int:
    return max(map(len, column.symbols.values()), default=1) + 2


def _lines(columns: Sequence[_Column], rows: _Rows, margin: int) -> list[str]:
    lines: list[str] = []
    for row, label in enumerate(rows.labels):
        wire = "─" if row < rows.qubits else "═"
        cells, gaps = [], []
        for column in columns:
            size = _size(column)
            symbol = column.symbols.get(row)
            if symbol is None:
                symbol = ("┼" if row < rows.qubits else "╬") if row in column.crossed else wire
            cells.append(_centred(symbol, size, wire))
            gaps.append(_centred(column.links.get(row, " "), size, " "))
        lines.append(f"{label:>{margin - 2}}: {''.join(cells)}")
        gap = " " * margin + "".join(gaps)
        if gap.strip():
            lines.append(gap.rstrip())
    return lines


def _centred(text: str, size: int, fill: str) -> str:
    """Text whose middle stands in the middle of the column."""
    before = size // 2 - (len(text) // 2 if len(text) > 2 else 0)  # noqa: PLR2004 - a box has borders
    before = min(max(0, before), size - len(text))
    return fill * before + text + fill * (size - before - len(text))
