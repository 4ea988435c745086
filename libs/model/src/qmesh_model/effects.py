"""Statements that are no gates: measure, reset, barrier, delay."""

from __future__ import annotations

from typing import Final

from qmesh_model.arithmetic import read_value
from qmesh_model.context import Context
from qmesh_model.operands import Operand
from qmesh_model.parameters import Expression
from qmesh_model.quoting import quoted
from qmesh_model.segments import Fault, Segment

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def measure(context: Context, segment: Segment) -> None:
    """`measure q -> c;`."""
    start, end = segment.start, segment.end
    segment.take()
    source = context.operand(segment, "qubit")
    if segment.kind != "->":
        if segment.kind == ";":
            raise Fault(
                "QASM314",
                "the measurement has no target",
                start,
                end,
                hint="write `measure q -> c;`" + ("" if context.version2 else " or `c = measure q;`"),
            )
        raise segment.unexpected("`->`", hint="write `measure q -> c;`")
    segment.take()
    target = context.operand(segment, "bit")
    segment.finish()
    _emit(context, source, target)


def assignment(context: Context, segment: Segment) -> None:
    """`c = measure q;`."""
    name, begin, end = segment.text, segment.start, segment.end
    entry = context.scope.names[name]
    if entry.kind == "qubit":
        raise Fault(
            "QASM312",
            f"{quoted(name)} is a qubit register; a statement does not begin with one",
            begin,
            end,
            other=(entry.start, entry.end, "declared here"),
            hint="gates change qubits: `x q[0];`, and `c[0] = measure q[0];` reads them",
        )
    target = context.operand(segment, "bit")
    written = "".join(segment.texts[: segment.at])
    start = segment.start
    segment.expect("=", "`=`")
    if segment.text != "measure":
        raise Fault(
            "QASM312",
            "a bit is written by measurement only",
            start,
            segment.end,
            hint=f"write `{written[:40]} = measure {_source(context, segment)};`",
        )
    if context.version2:
        raise Fault(
            "QASM208", "`c = measure q` needs OpenQASM 3", start, segment.end, hint="write `measure q -> c;`"
        )
    measure_into(context, segment, target.indices, target.scalar, target.start, target.end)
    segment.finish()


def _source(context: Context, segment: Segment) -> str:
    """What was probably meant to be measured: the operand at the cursor, if it is a qubit."""
    entry = context.scope.names.get(segment.text)
    rest = "".join(segment.texts[segment.at :]).rstrip(";")
    return rest[:40] if entry is not None and entry.kind == "qubit" else "q[0]"


def measure_into(
    context: Context, segment: Segment, bits: tuple[int, ...], scalar: bool, start: int, end: int
) -> None:
    """Reads `measure q` at the cursor and emits it into bits."""
    segment.take()
    source = context.operand(segment, "qubit")
    _emit(context, source, Operand(bits, scalar, start, end))


def _emit(context: Context, source: Operand, target: Operand) -> None:
    """One operation a bit; a register of one element fits a single bit."""
    if len(source.indices) != len(target.indices):
        raise Fault(
            "QASM218",
            f"{len(source.indices)} qubits cannot be measured into {len(target.indices)} bits",
            target.start,
            target.end,
            other=(source.start, source.end, f"{len(source.indices)} qubits"),
            hint="name as many bits as qubits",
        )
    if len(set(target.indices)) != len(target.indices) or len(set(source.indices)) != len(source.indices):
        raise Fault("QASM216", "one measurement names an element twice", source.start, target.end)
    count = len(source.indices)
    context.builder.reserve(count, count, source.start, target.end)
    for qubit, bit in zip(source.indices, target.indices, strict=True):
        context.builder.measure(qubit, bit)


def reset(context: Context, segment: Segment) -> None:
    """`reset q;`."""
    segment.take()
    operands = context.qubits(segment)
    segment.finish()
    for operand in operands:
        context.builder.reserve(len(operand.indices), len(operand.indices), operand.start, operand.end)
        for qubit in operand.indices:
            context.builder.reset(qubit)


def barrier(context: Context, segment: Segment) -> None:
    """`barrier q, r[0];`, or `barrier;` over all qubits."""
    start, end = segment.start, segment.end
    segment.take()
    if segment.kind == ";" and not context.version2:
        qubits = tuple(range(context.builder.num_qubits))
    else:
        qubits = tuple(dict.fromkeys(q for operand in context.qubits(segment) for q in operand.indices))
    segment.finish()
    context.builder.reserve(1, len(qubits), start, end)
    if qubits:
        context.builder.barrier(qubits)


def delay(context: Context, segment: Segment) -> None:
    """`delay[100ns] q;`: one operation a qubit."""
    start, end = segment.start, segment.end
    if context.version2:
        raise Fault(
            "QASM208", "`delay` needs OpenQASM 3", start, end, hint="begin the text with `OPENQASM 3.0;`"
        )
    segment.take()
    segment.expect("[", "`[` and a duration")
    start = segment.start
    value = read_value(segment, context.scope, context.limits)
    unit = segment.text if segment.kind == "id" else ""
    if isinstance(value, Expression) or value < 0 or unit not in _UNITS:
        raise Fault(
            "QASM319",
            f"{quoted(unit)} is no unit of time here" if unit else "a duration is a number with a unit",
            start,
            segment.end,
            hint="write for example `delay[100ns]`; dt differs from device to device",
        )
    segment.take()
    segment.expect("]", "`]`")
    operands = context.qubits(segment) if segment.kind != ";" else []
    qubits = [q for operand in operands for q in operand.indices] or list(range(context.builder.num_qubits))
    segment.finish()
    context.builder.reserve(len(qubits), len(qubits), start, segment.last_end)
    for qubit in qubits:
        context.builder.delay(qubit, float(value) * _UNITS[unit])
