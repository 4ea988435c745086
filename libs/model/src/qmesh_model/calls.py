"""Statements that call: catalogue gates, gates of the text, service words, global phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from qmesh_model import gates
from qmesh_model.context import Context
from qmesh_model.definitions import Definition, Primitive
from qmesh_model.effects import measure
from qmesh_model.gates import Gate
from qmesh_model.modifiers import Modifier, modified, num_controls, read_modifiers
from qmesh_model.operands import Operand, broadcast, broadcast_size, duplicate
from qmesh_model.parameters import Parameter
from qmesh_model.quoting import quoted
from qmesh_model.scope import KEYWORDS
from qmesh_model.segments import Fault, Segment
from qmesh_model.words import (
    DISTILLATION_NAMES,
    FOURIER,
    OTHER_WORDS,
    SYNDROME_CODES,
    SYNDROME_NAMES,
    fourier,
    fourier_size,
)

_SUGGESTIONS: Final = 200

type Callee = Gate | Definition | str
"""A catalogue gate, a gate of the text, or a service word in lower case."""


def find_callee(context: Context, name: str, start: int, end: int) -> Callee:
    """What a name calls: a gate of the text first, then the catalogue, then a service word in any case.

    Raises:
        Fault: when it calls nothing.
    """
    entry = context.scope.names.get(name)
    if entry is not None and entry.definition is not None:
        return entry.definition
    if entry is not None:
        context.scope.find(name, start, end, wanted="gate")
    if name in context.scope.broken:
        raise Fault("", "", start, end)
    gate = gates.resolve(name)
    lower = name.lower()
    if gate is not None:
        if (
            name not in context.scope.library
            and name not in gates.BUILTIN
            and name not in gates.UNITARY_WORDS
        ):
            context.warn("MESH150", start, end, f"{quoted(name)} is not declared by an include of this text")
        return gate
    if name == "gphase":
        return name
    if lower in gates.UNITARY_WORDS:
        word = gates.resolve(lower)
        if word is not None:
            return word
    if lower in OTHER_WORDS:
        return lower
    raise _unknown(context, name, start, end)


def _unknown(context: Context, name: str, start: int, end: int) -> Fault:
    known = [*gates.GATES, *gates.ALIASES, *gates.UNITARY_WORDS, *OTHER_WORDS]
    known += [n for n, entry in islice(context.scope.names.items(), _SUGGESTIONS) if entry.kind == "gate"]
    nearest = context.scope.nearest
    near = nearest.find(name, known) or nearest.find(name, sorted(KEYWORDS))
    hint = f"did you mean `{near}`?" if near else "define it with `gate`, or write it with catalogue gates"
    return Fault("QASM212", f"there is no gate {quoted(name)}", start, end, hint=hint)


def _usage(name: str, params: int, qubits: int) -> str:
    """A call as it should be."""
    angles = f"({', '.join(['pi/2'] * params)})" if params else ""
    return f"write for example `{name}{angles} {', '.join(f'q[{k}]' for k in range(qubits))};`"


def check_numbers(
    context: Context,
    callee: Gate | Definition,
    name: str,
    params: int,
    qubits: int,
    start: int,
    end: int,
    modifiers: Sequence[Modifier] = (),
) -> None:
    """Checks the numbers of parameters and operands; those of a modified gate count its controls.

    Raises:
        Fault: when one is wrong.
    """
    want_params = callee.num_params if isinstance(callee, Gate) else len(callee.params)
    controls = num_controls(modifiers)
    want = callee.num_qubits + controls
    if want_params == params and want == qubits:
        return
    entry = context.scope.names.get(name)
    other = (entry.start, entry.end, "defined here") if entry is not None else None
    prefix = "".join(f"{m.word}{f'({m.amount})' if m.amount != 1 else ''} @ " for m in modifiers)
    usage = _usage(f"{prefix}{name}", want_params, want)
    if want_params != params:
        plural = "parameter" if want_params == 1 else "parameters"
        message = f"{quoted(name)} takes {want_params} {plural}, not {params}"
        raise Fault("QASM214", message, start, end, other=other, hint=usage)
    plural = "qubit" if want == 1 else "qubits"
    message = f"{quoted(prefix + name)} takes {want} {plural}, not {qubits}"
    raise Fault("QASM213", message, start, end, other=other, hint=usage)


def call(context: Context, segment: Segment) -> None:
    """A statement that begins with a name that is no keyword."""
    start, end = segment.start, segment.end
    name = segment.text
    callee = find_callee(context, name, start, end)
    if callee == "measure":
        measure(context, segment)
        return
    segment.take()
    if isinstance(callee, str):
        _word(context, segment, callee, start, end)
        return
    params = context.parameters(segment)
    if segment.kind == "id" and not context.is_register(segment.text):
        check_numbers(context, callee, name, len(params), callee.num_qubits, start, end)
    operands = context.qubits(segment)
    segment.finish()
    check_numbers(context, callee, name, len(params), len(operands), start, end)
    _emit(context, callee, params, operands, start, segment.last_end)


def modified_call(context: Context, segment: Segment) -> None:
    """`ctrl @ x q[0], q[1];`."""
    modifiers = read_modifiers(segment, context.scope, context.limits, version2=context.version2)
    start, end = segment.start, segment.end
    name = segment.expect("id", "a gate after the modifier")
    callee = find_callee(context, name, start, end)
    params = context.parameters(segment)
    operands = [] if segment.kind == ";" else context.qubits(segment)
    segment.finish()
    if isinstance(callee, str) and callee in FOURIER:
        operands = [Operand((qubit,), True, o.start, o.end) for o in operands for qubit in o.indices]
    steps = expand(context, callee, name, params, len(operands), start, end, modifiers)
    rows = broadcast(operands) if operands else [()]
    context.builder.steps(modified(steps, modifiers, context.limits), rows, start, end)


def expand(
    context: Context,
    callee: Callee,
    name: str,
    params: tuple[Parameter, ...],
    qubits: int,
    start: int,
    end: int,
    modifiers: Sequence[Modifier] = (),
) -> list[Primitive]:
    """Steps of a unitary callee, without its modifiers, on the positions 0, 1, ...

    Args:
        context: what the text's statements share.
        callee: what is called.
        name: its name as written.
        params: its parameters.
        qubits: operands as written, controls included.
        start: offset of the name.
        end: offset after it.
        modifiers: modifiers before the name.

    Raises:
        Fault: when the numbers are wrong, a budget is exceeded, or the callee is not unitary.
    """
    width = qubits - num_controls(modifiers)
    if isinstance(callee, Gate):
        check_numbers(context, callee, name, len(params), qubits, start, end, modifiers)
        return [Primitive(callee, params, tuple(range(width)))]
    if isinstance(callee, Definition):
        check_numbers(context, callee, name, len(params), qubits, start, end, modifiers)
        return context.builder.substituted(callee, params, start, end)
    if callee == "gphase":
        _check_phase(params, width, start, end)
        return [Primitive(None, params, ())]
    if callee not in FOURIER:
        hint = "only unitary words can be modified or stand in a gate body"
        raise Fault("QASM305", f"{quoted(name)} is no unitary gate", start, end, hint=hint)
    if params:
        raise Fault("QASM214", f"{quoted(name)} takes no parameters", start, end, hint=f"write `{name} q;`")
    if width < 1:
        hint = f"write for example `{name} q[0], q[1];`"
        raise Fault("QASM213", f"{quoted(name)} takes at least one qubit", start, end, hint=hint)
    if fourier_size(width) > context.limits.gate_operations:
        message = (
            f"{quoted(name)} has more than {context.limits.gate_operations} operations (`gate_operations`)"
        )
        raise Fault("MESH101", message, start, end, fatal=True)
    return fourier(width, inverse=callee == "iqft")


def _check_phase(params: tuple[Parameter, ...], width: int, start: int, end: int) -> None:
    if len(params) != 1:
        hint = "write `gphase(pi/2);`"
        raise Fault("QASM214", f"`gphase` takes 1 parameter, not {len(params)}", start, end, hint=hint)
    if width:
        hint = "write `gphase(pi/2);`, or name one qubit for each control"
        raise Fault("QASM213", "`gphase` acts on no qubit but its controls", start, end, hint=hint)


def _emit(
    context: Context,
    callee: Gate | Definition,
    params: tuple[Parameter, ...],
    operands: list[Operand],
    start: int,
    end: int,
) -> None:
    builder = context.builder
    count = broadcast_size(operands)
    if isinstance(callee, Gate):
        builder.reserve(count, count * callee.num_qubits, start, end)
        for row in broadcast(operands):
            builder.gate(callee, params, row)
    else:
        rows = broadcast(operands)
        builder.reserve(len(callee.steps) * count, callee.operands * count, start, end)
        builder.emit(builder.substituted(callee, params, start, end), rows, start, end)


def _word(context: Context, segment: Segment, word: str, start: int, end: int) -> None:
    if word == "gphase":
        params = context.parameters(segment)
        segment.finish()
        _check_phase(params, 0, start, end)
        context.builder.global_phase(params[0], start, end)
        if context.builder.conditioned_phase:
            context.warn("MESH153", start, end, "a conditioned global phase has no observable effect")
    elif word in FOURIER:
        _fourier(context, segment, word, start, end)
    else:
        if context.builder.condition is not None:
            raise Fault(
                "MESH118", f"`{word}` cannot be conditioned", start, end, hint="move it out of the `if`"
            )
        if word == "distillation":
            _distillation(context, segment, start, end)
        else:
            _syndrome(context, segment, start, end)


def _flat(operands: list[Operand]) -> tuple[int, ...]:
    """All elements of all operands.

    Raises:
        Fault: when a qubit occurs twice.
    """
    found = [(index, operand) for operand in operands for index in operand.indices]
    row = tuple(index for index, _ in found)
    if len(set(row)) != len(row):
        raise duplicate([operand for _, operand in found], row)
    return row


def _fourier(context: Context, segment: Segment, word: str, start: int, end: int) -> None:
    operands = context.qubits(segment)
    segment.finish()
    qubits = _flat(operands)
    width = len(qubits)
    context.builder.reserve(fourier_size(width), width * width + width, start, end)
    for step in fourier(width, inverse=word == "iqft"):
        if step.gate is not None:
            context.builder.gate(step.gate, step.params, tuple(qubits[i] for i in step.operands), "qft")


def _choice(segment: Segment) -> tuple[str, int, int]:
    """An optional parenthesised name."""
    if not segment.accept("("):
        return "", segment.start, segment.start
    start, end = segment.start, segment.end
    name = segment.expect("id", "a name")
    segment.expect(")", "`)`")
    return name, start, end


def _distillation(context: Context, segment: Segment, start: int, end: int) -> None:
    name, at, after = _choice(segment)
    if name and name.lower() not in DISTILLATION_NAMES:
        raise Fault(
            "MESH111", f"there is no distillation protocol {quoted(name)}", at, after, hint="bbpssw or dejmps"
        )
    operands = context.qubits(segment)
    segment.finish()
    if len(operands) > 1:
        raise Fault(
            "MESH110",
            "entangled data qubits cannot be distilled",
            start,
            end,
            hint="`distillation q[0];` purifies the next pair that is delivered for q[0]",
        )
    qubits = operands[0].indices
    context.builder.reserve(len(qubits), len(qubits), start, end)
    for qubit in qubits:
        context.builder.distillation(qubit, DISTILLATION_NAMES[name.lower() or "bbpssw"], start, end)


def _syndrome(context: Context, segment: Segment, start: int, end: int) -> None:
    name, at, after = _choice(segment)
    if name and name.lower() not in SYNDROME_NAMES:
        raise Fault("MESH113", f"there is no code {quoted(name)}", at, after, hint=", ".join(SYNDROME_NAMES))
    qubits = _flat(context.qubits(segment))
    code = SYNDROME_CODES.get(len(qubits))
    if code is None:
        sizes = ", ".join(f"{c.num_qubits} ({c.name})" for c in SYNDROME_CODES.values())
        raise Fault(
            "MESH112", f"there is no code of {len(qubits)} qubits", start, end, hint=f"the codes have {sizes}"
        )
    if name and SYNDROME_NAMES[name.lower()] is not code:
        want = SYNDROME_NAMES[name.lower()].num_qubits
        raise Fault("MESH113", f"the code {quoted(name)} has {want} qubits, not {len(qubits)}", at, after)
    bits: tuple[int, ...] = ()
    if segment.kind == "->":
        segment.take()
        target = context.operand(segment, "bit")
        bits = target.indices
        if len(set(bits)) != code.num_bits or len(bits) != code.num_bits:
            message = f"the code {code.name} has {code.num_bits} checks, the target {len(bits)} bit{'s' * (len(bits) != 1)}"
            raise Fault(
                "MESH114",
                message,
                target.start,
                target.end,
                hint=f"name {code.num_bits} bits, as in `-> c[0:{code.num_bits - 1}]`",
            )
    segment.finish()
    context.builder.reserve(1, len(qubits), start, end)
    context.builder.syndrome(qubits, bits)
