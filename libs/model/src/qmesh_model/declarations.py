"""Statements that declare: version, include, registers, constants, inputs."""

from __future__ import annotations

from typing import Final

from qmesh_model import gates
from qmesh_model.arithmetic import read_integer, read_value
from qmesh_model.circuit import Register
from qmesh_model.conditions import NEVER_WRITTEN
from qmesh_model.context import Context
from qmesh_model.effects import measure_into
from qmesh_model.parameters import Expression
from qmesh_model.quoting import quoted
from qmesh_model.scope import Declared
from qmesh_model.segments import Fault, Segment

_INCLUDES: Final = {'"qelib1.inc"': gates.QELIB1, '"stdgates.inc"': gates.STDGATES}
_CONST_TYPES: Final = frozenset({"int", "uint", "float", "angle"})
_VERSIONS: Final = {"2": "2.0", "2.0": "2.0", "3": "3.0", "3.0": "3.0", "3.1": "3.1"}


def version(context: Context, segment: Segment) -> None:
    """`OPENQASM 3.0;`."""
    segment.take()
    start, end, text = segment.start, segment.end, segment.text
    if segment.kind not in {"int", "float"} or text not in _VERSIONS:
        raise Fault(
            "QASM205",
            f"version {quoted(text)} is not supported",
            start,
            end,
            hint="write `OPENQASM 3.0;` or `OPENQASM 2.0;`",
        )
    context.version = _VERSIONS[text]
    context.scope.old = context.version2
    segment.take()
    segment.finish()


def include(context: Context, segment: Segment) -> None:
    """`include "stdgates.inc";`: a built-in table, never a file."""
    segment.take()
    start, end = segment.start, segment.end
    name = segment.expect("str", 'a file name in `"`')
    if name not in _INCLUDES:
        raise Fault(
            "QASM206",
            f"the include {quoted(name)} is forbidden",
            start,
            end,
            hint='only "qelib1.inc" and "stdgates.inc" exist, as built-in tables',
        )
    if (name == '"qelib1.inc"') != context.version2:
        other = '"qelib1.inc"' if context.version2 else '"stdgates.inc"'
        raise Fault(
            "QASM208", f"{name} belongs to the other version of OpenQASM", start, end, hint=f"include {other}"
        )
    context.scope.library |= _INCLUDES[name]
    segment.finish()


def register_old(context: Context, segment: Segment) -> None:
    """`qreg q[2];` and `creg c[2];`."""
    kind = "qubit" if segment.take() == "qreg" else "bit"
    start, end = segment.start, segment.end
    name = segment.expect("id", "a name")
    size = 1
    sized = segment.kind == "["
    try:
        if sized or context.version2:
            segment.expect("[", "`[` and the size", hint="write for example `qreg q[2];`")
            size = _size(context, segment, kind)
            segment.expect("]", "`]`")
        segment.finish()
        _declare_register(context, kind, name, size, start, end, scalar=not sized)
    except Fault:
        context.scope.broken.add(name)
        raise


def register_new(context: Context, segment: Segment) -> None:
    """`qubit[2] q;`, `qubit q;`, `bit[2] c;`, `bit[2] c = measure q;`."""
    kind, start, end = segment.text, segment.start, segment.end
    if context.version2:
        old = "qreg q[2];" if kind == "qubit" else "creg c[2];"
        context.scope.broken.update(t for k, t in zip(segment.kinds, segment.texts, strict=True) if k == "id")
        raise Fault(
            "QASM208",
            f"`{kind}` needs OpenQASM 3",
            start,
            end,
            hint=f"write `{old}`, or begin with `OPENQASM 3.0;`",
        )
    segment.take()
    size, sized = 1, segment.kind == "["
    try:
        if segment.accept("["):
            size = _size(context, segment, kind)
            segment.expect("]", "`]`")
        start, end = segment.start, segment.end
        name = segment.expect("id", "a name")
        _declare_register(context, kind, name, size, start, end, scalar=not sized)
    except Fault:
        context.scope.broken.update(t for k, t in zip(segment.kinds, segment.texts, strict=True) if k == "id")
        raise
    if segment.kind == "[":
        hint = f"the size comes first: `{kind}[2] {name};`"
        raise segment.unexpected("`;`", hint=hint)
    if segment.kind == "=":
        _initial(context, segment, name, kind)
    segment.finish()


def _initial(context: Context, segment: Segment, name: str, kind: str) -> None:
    """What a register begins with: a measurement, or the zeros that bits begin as anyway."""
    start, end = segment.start, segment.end
    segment.take()
    entry = context.scope.names[name]
    if kind == "bit" and entry.register is not None:
        if segment.text == "measure":
            measure_into(context, segment, entry.whole(), entry.scalar, entry.start, entry.end)
            return
        zeros = {"0", "false"} if entry.scalar else {f'"{"0" * entry.register.size}"'}
        if segment.text in zeros:
            segment.take()
            return
    raise Fault(
        "QASM312",
        "an initial value other than 0 or a measurement is not supported",
        start,
        end,
        hint=f"leave the value out: {kind}s begin as 0, and `x` turns a qubit",
    )


def _size(context: Context, segment: Segment, kind: str) -> int:
    start = segment.start
    size = read_integer(segment, context.scope, context.limits)
    if size < 1:
        raise Fault(
            "QASM221",
            f"a register of {size} elements is not possible",
            start,
            segment.last_end,
            hint="declare at least one",
        )
    limits, builder = context.limits, context.builder
    if kind == "qubit" and builder.num_qubits + size > limits.qubits:
        raise Fault(
            "MESH102", f"the circuit has more than {limits.qubits} qubits (`qubits`)", start, segment.last_end
        )
    if kind == "bit" and len(builder.current) + size > limits.bits:
        raise Fault(
            "MESH103",
            f"the circuit has more than {limits.bits} classical bits (`bits`)",
            start,
            segment.last_end,
        )
    return size


def _declare_register(
    context: Context, kind: str, name: str, size: int, start: int, end: int, *, scalar: bool
) -> None:
    builder, limits = context.builder, context.limits
    offset = builder.num_qubits if kind == "qubit" else len(builder.current)
    if offset + size > (limits.qubits if kind == "qubit" else limits.bits):
        code = "MESH102" if kind == "qubit" else "MESH103"
        raise Fault(code, f"the circuit exceeds the bound of {offset} {kind}s (`{kind}s`)", start, end)
    register = Register(name, size, offset)
    context.scope.declare(name, Declared(kind, start, end, register, scalar))
    if kind == "qubit":
        builder.num_qubits += size
        context.qubit_registers.append(register)
    else:
        builder.current.extend([NEVER_WRITTEN] * size)
        context.bit_registers.append(register)


def constant(context: Context, segment: Segment) -> None:
    """`const float x = pi / 2;`."""
    _only3(context, segment)
    segment.take()
    whole = segment.text in {"int", "uint"}
    name, start, end = _typed_name(
        context, segment, _CONST_TYPES, "QASM310", "a constant is int, uint, float or angle"
    )
    try:
        segment.expect("=", "`=` and a value")
        at = segment.start
        value = (
            read_integer(segment, context.scope, context.limits)
            if whole
            else read_value(segment, context.scope, context.limits)
        )
        if isinstance(value, Expression):
            raise Fault("QASM320", "a constant cannot depend on an input", at, segment.last_end)  # noqa: TRY301 - one handler notes the broken name
        segment.finish()
        context.scope.declare(name, Declared("const", start, end, value=value if whole else float(value)))
    except Fault:
        context.scope.broken.add(name)
        raise


def input_(context: Context, segment: Segment) -> None:
    """`input float theta;`: a symbolic parameter."""
    _only3(context, segment)
    segment.take()
    name, start, end = _typed_name(
        context, segment, {"float", "angle"}, "QASM315", "an input is float or angle"
    )
    context.scope.broken.add(name)
    segment.finish()
    context.scope.declare(name, Declared("input", start, end, value=Expression.symbol(name)))
    context.symbols.append(name)


def alias(context: Context, segment: Segment) -> None:
    """`let a = q[0:1] ++ r;`: another name for elements of registers."""
    _only3(context, segment)
    segment.take()
    start, end = segment.start, segment.end
    name = segment.expect("id", "a name")
    try:
        segment.expect("=", "`=` and a register")
        at = segment.start
        entry = context.scope.lookup(segment.text)
        kind = "bit" if entry is not None and entry.kind == "bit" else "qubit"
        found = list(context.operand(segment, kind).indices)
        while segment.accept("++"):
            found += context.operand(segment, kind).indices
        segment.finish()
        if len(set(found)) != len(found):
            hint = "an alias names each element once"
            raise Fault("QASM307", "the alias names an element twice", at, segment.last_end, hint=hint)  # noqa: TRY301 - one handler notes the broken name
        context.builder.reserve(0, len(found), at, segment.last_end)
        register = Register(name, len(found), 0)
        context.scope.declare(name, Declared(kind, start, end, register, elements=tuple(found)))
    except Fault:
        context.scope.broken.add(name)
        raise


def _only3(context: Context, segment: Segment) -> None:
    if context.version2:
        raise Fault(
            "QASM208",
            f"{quoted(segment.text)} needs OpenQASM 3",
            segment.start,
            segment.end,
            hint="begin the text with `OPENQASM 3.0;`",
        )


def _typed_name(
    context: Context, segment: Segment, allowed: frozenset[str] | set[str], code: str, hint: str
) -> tuple[str, int, int]:
    """Reads a type and a name."""
    if segment.text not in allowed:
        context.scope.broken.update(t for k, t in zip(segment.kinds, segment.texts, strict=True) if k == "id")
        raise Fault(
            code,
            f"the type {quoted(segment.text)} is not supported here",
            segment.start,
            segment.end,
            hint=hint,
        )
    segment.take()
    if segment.accept("["):
        read_integer(segment, context.scope, context.limits)
        segment.expect("]", "`]`")
    start, end = segment.start, segment.end
    return segment.expect("id", "a name"), start, end
