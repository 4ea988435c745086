"""Gate definitions: header and body, flattened as they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from qmesh_model.calls import Callee, expand, find_callee
from qmesh_model.context import Context
from qmesh_model.controls import placed
from qmesh_model.definitions import Definition, Primitive
from qmesh_model.modifiers import modified, read_modifiers
from qmesh_model.parameters import Expression
from qmesh_model.quoting import quoted
from qmesh_model.scope import KEYWORDS, Declared, Scope
from qmesh_model.segments import Fault, Segment
from qmesh_model.words import FOURIER

_NO_GATES: Final = frozenset({"measure", "reset", "if", "else", "for", "delay", "barrier", "let", "gate"})


@dataclass(slots=True)
class Body:
    """A gate definition that is being read.

    Attributes:
        name: name of the gate; empty when its header was faulty.
        start: offset of the name.
        end: offset after it.
        params: names of its parameters.
        qubits: position of each of its qubits by name.
        scope: names that the body sees.
        steps: flattened steps so far.
        work: steps of symbolic expressions so far.
        broken: an error was found.
    """

    name: str
    start: int
    end: int
    params: tuple[str, ...] = ()
    qubits: dict[str, int] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    steps: list[Primitive] = field(default_factory=list)
    work: int = 0
    broken: bool = False


def open_body(context: Context, segment: Segment) -> Body:
    """`gate name(a, b) q, r {`.

    Raises:
        Fault: when the header is faulty; the name is then noted as broken.
    """
    segment.take()
    start, end = segment.start, segment.end
    name = segment.expect("id", "a name")
    try:
        context.scope.check_free(name, start, end)
        body = Body(name, start, end)
        outer = context.scope
        body.scope = Scope(
            library=outer.library, broken=outer.broken, outer=outer, old=outer.old, nearest=outer.nearest
        )
        params: list[str] = []
        if segment.accept("("):
            while segment.kind != ")":
                params.append(_formal(segment, body, Declared("angle", segment.start, segment.end)))
                if not segment.accept(","):
                    break
            segment.expect(")", "`)`")
        while True:
            at = segment.start
            formal = _formal(segment, body, Declared("formal", at, segment.end))
            body.qubits[formal] = len(body.qubits)
            if not segment.accept(","):
                break
        body.params = tuple(params)
        segment.expect("{", "`{`")
    except Fault:
        context.scope.broken.add(name)
        raise
    return body


def _formal(segment: Segment, body: Body, entry: Declared) -> str:
    name = segment.expect("id", "a name")
    before = body.scope.names.get(name)
    if before is not None and before.kind in {"formal", "angle"}:
        other = (before.start, before.end, "first named here")
        hint = "choose another name"
        raise Fault(
            "QASM211", f"{quoted(name)} is named twice", entry.start, entry.end, other=other, hint=hint
        )
    entry.value = Expression.symbol(name)
    if name in KEYWORDS:
        raise Fault(
            "QASM224",
            f"{quoted(name)} is a word of the language",
            entry.start,
            entry.end,
            hint="choose another name",
        )
    body.scope.names[name] = entry
    return name


def body_statement(context: Context, body: Body, segment: Segment) -> None:
    """One statement of a body.

    Raises:
        Fault: when it is faulty, or not allowed here.
    """
    modifiers = read_modifiers(segment, body.scope, context.limits, version2=context.version2)
    start, end = segment.start, segment.end
    name = segment.expect("id", "a gate")
    if name == "barrier" and not modifiers:
        positions = _positions(context, body, segment)
        segment.finish()
        _append(context, body, [Primitive(None, (), positions)], start, end)
        return
    if name in _NO_GATES or segment.kind in {"=", "["}:
        raise Fault(
            "QASM223",
            f"{quoted(name)} is not allowed in a gate body",
            start,
            end,
            hint="only gates and barriers are",
        )
    callee = _callee(context, body, name, start, end)
    params = context.parameters(segment, body.scope)
    positions = () if segment.kind == ";" else _positions(context, body, segment)
    segment.finish()
    _room(context, body, len(callee.steps) if isinstance(callee, Definition) else 1, start, end)
    steps = expand(context, callee, name, params, len(positions), start, end, modifiers)
    if modifiers:
        steps = modified(steps, modifiers, context.limits)
    _append(context, body, [placed(step, positions) for step in steps], start, end)


def _callee(context: Context, body: Body, name: str, start: int, end: int) -> Callee:
    if name == body.name:
        raise Fault(
            "QASM212",
            f"{quoted(name)} is not defined before the end of its body",
            start,
            end,
            hint="a gate cannot contain itself",
        )
    entry = body.scope.lookup(name)
    if entry is not None and entry.kind in {"formal", "angle"}:
        body.scope.find(name, start, end, wanted="gate")
    callee = find_callee(context, name, start, end)
    if isinstance(callee, str) and callee not in FOURIER and callee != "gphase":
        raise Fault(
            "QASM223",
            f"{quoted(name)} is not allowed in a gate body",
            start,
            end,
            hint="only unitary words are",
        )
    return callee


def _positions(context: Context, body: Body, segment: Segment) -> tuple[int, ...]:
    found: list[int] = []
    while True:
        start, end = segment.start, segment.end
        name = segment.expect("id", "a qubit of the gate")
        outside = context.scope.names.get(name)
        if name not in body.scope.names and outside is not None and outside.kind == "qubit":
            raise Fault(
                "QASM223",
                f"{quoted(name)} is outside of the gate's body",
                start,
                end,
                other=(outside.start, outside.end, "declared here"),
                hint="a body sees its own qubits only: name one more in its head",
            )
        body.scope.find(name, start, end, wanted="formal")
        if segment.kind == "[":
            raise Fault(
                "QASM225",
                f"{quoted(name)} is a single qubit and has no elements",
                start,
                segment.end,
                hint=f"write `{name}`",
            )
        if body.qubits[name] in found:
            raise Fault("QASM216", "one operation names the same qubit twice", start, end)
        found.append(body.qubits[name])
        if not segment.accept(","):
            return tuple(found)


def _room(context: Context, body: Body, count: int, start: int, end: int) -> None:
    if context.gate_operations + len(body.steps) + count > context.limits.gate_operations:
        message = f"the gate definitions have more than {context.limits.gate_operations} operations (`gate_operations`)"
        raise Fault("MESH101", message, start, end, fatal=True)


def _append(context: Context, body: Body, steps: list[Primitive], start: int, end: int) -> None:
    _room(context, body, len(steps), start, end)
    body.work += sum(len(p.tokens) for step in steps for p in step.params if isinstance(p, Expression))
    body.steps += steps


def close_body(context: Context, body: Body) -> None:
    """`}`: declares the gate, or notes its name as broken."""
    if body.broken or not body.name:
        context.scope.broken.add(body.name)
        return
    context.gate_operations += len(body.steps)
    operands = sum(len(step.operands) for step in body.steps)
    definition = Definition(body.name, body.params, len(body.qubits), tuple(body.steps), body.work, operands)
    context.scope.declare(body.name, Declared("gate", body.start, body.end, definition=definition))
