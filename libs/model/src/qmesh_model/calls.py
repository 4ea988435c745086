"""Statements that call: catalogue gates, gates of the text, service words, global phase."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import Final

from qmesh_model import gates
from qmesh_model.context import Context
from qmesh_model.definitions import Definition, Primitive
from qmesh_model.effects import measure
from qmesh_model.gates import Gate
from qmesh_model.modifiers import modified, num_controls, read_modifiers
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
    known += sorted(KEYWORDS)
    near = difflib.get_close_matches(name, known, 1) or difflib.get_close_matches(name.lower(), known, 1)
    hint = f"did you mean `{near[0]}`?" if near else "define it with `gate`, or write it with catalogue gates"
    return Fault("QASM212", f"there is no gate {quoted(name)}", start, end, hint=hint)


def check_params(name: str, want: int, have: int, start: int, end: int) -> None:
    """Checks the number of parameters.

    Raises:
        Fault: when it is wrong.
    """
    if want != have:
        plural = "parameter" if want == 1 else "parameters"
        raise Fault("QASM214", f"{quoted(name)} takes {want} {plural}, not {have}", start, end)


def check_arity(name: str, want: int, operands: int, start: int, end: int) -> None:
    """Checks the number of operands.

    Raises:
        Fault: when it is wrong.
    """
    if want != operands:
        plural = "qubit" if want == 1 else "qubits"
        raise Fault("QASM213", f"{quoted(name)} takes {want} {plural}, not {operands}", start, end)


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
    want = callee.num_params if isinstance(callee, Gate) else len(callee.params)
    check_params(name, want, len(params), start, end)
    operands = context.qubits(segment)
    segment.finish()
    check_arity(name, callee.num_qubits, len(operands), start, end)
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
    controls = num_controls(modifiers)
    steps = expand(context, callee, name, params, len(operands) - controls, start, end)
    rows = broadcast(operands) if operands else [()]
    context.builder.steps(modified(steps, modifiers, context.limits), rows, start, end)


def expand(
    context: Context,
    callee: Callee,
    name: str,
    params: tuple[Parameter, ...],
    width: int,
    start: int,
    end: int,
) -> list[Primitive]:
    """Steps of a unitary callee on the positions 0, 1, ..., width - 1.

    Raises:
        Fault: when the numbers are wrong, a budget is exceeded, or the callee is not unitary.
    """
    if isinstance(callee, Gate):
        check_params(name, callee.num_params, len(params), start, end)
        check_arity(name, callee.num_qubits, width, start, end)
        return [Primitive(callee, params, tuple(range(width)))]
    if isinstance(callee, Definition):
        check_params(name, len(callee.params), len(params), start, end)
        check_arity(name, callee.num_qubits, width, start, end)
        return context.builder.substituted(callee, params, start, end)
    if callee == "gphase":
        check_params(name, 1, len(params), start, end)
        check_arity(name, 0, width, start, end)
        return [Primitive(None, params, ())]
    if callee not in FOURIER:
        hint = "only unitary words can be modified or stand in a gate body"
        raise Fault("QASM305", f"{quoted(name)} is no unitary gate", start, end, hint=hint)
    check_params(name, 0, len(params), start, end)
    if width < 1:
        check_arity(name, 1, width, start, end)
    if fourier_size(width) > context.limits.gate_operations:
        message = (
            f"{quoted(name)} has more than {context.limits.gate_operations} operations (`gate_operations`)"
        )
        raise Fault("MESH101", message, start, end, fatal=True)
    return fourier(width, inverse=callee == "iqft")


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
        check_params(word, 1, len(params), start, end)
        segment.finish()
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
            message = f"the code {code.name} has {code.num_bits} checks, the target {len(bits)} bits"
            raise Fault("MESH114", message, target.start, target.end)
    segment.finish()
    context.builder.reserve(1, len(qubits), start, end)
    context.builder.syndrome(qubits, bits)
