"""Gate modifiers: `ctrl @`, `negctrl @`, `inv @`, `pow(k) @`, nested and with counts.

Responsible for their syntax and for the steps that a modified gate stands for. Controls commute with inverses and
powers, so they are applied last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from qmesh_model.arithmetic import read_integer, read_value
from qmesh_model.budgets import Budgets
from qmesh_model.controls import controlled, placed
from qmesh_model.definitions import Primitive
from qmesh_model.gates import GATES
from qmesh_model.parameters import Expression, ParameterError, TooLarge
from qmesh_model.powers import NoPower, inverse, multiple, power
from qmesh_model.quoting import quoted
from qmesh_model.scope import Scope
from qmesh_model.segments import Fault, Segment

WORDS: Final = frozenset({"ctrl", "negctrl", "inv", "pow"})
"""First words of a modified gate."""


class Modifier(NamedTuple):
    """One modifier: its word, how many controls or which power, and its place."""

    word: str
    amount: int | float
    start: int
    end: int


def read_modifiers(segment: Segment, scope: Scope, limits: Budgets, *, version2: bool) -> list[Modifier]:
    """Reads the modifiers before a gate's name.

    Raises:
        Fault: on errors of syntax and counts.
    """
    found: list[Modifier] = []
    controls = 0
    while segment.kind == "id" and segment.text in WORDS:
        start, end = segment.start, segment.end
        if version2:
            hint = "begin the text with `OPENQASM 3.0;`"
            raise Fault("QASM208", f"`{segment.text} @` needs OpenQASM 3", start, end, hint=hint)
        if len(found) >= limits.nesting:
            message = f"a gate has more than {limits.nesting} modifiers (`nesting`)"
            raise Fault("MESH104", message, start, end)
        word = segment.take()
        count = _count(segment, scope, limits, word)
        segment.expect("@", f"`@` after `{word}`")
        found.append(Modifier(word, count, start, segment.last_end))
        if word in {"ctrl", "negctrl"}:
            controls += int(count)
            if controls > limits.controls:
                message = f"the gate has {controls} controls; `controls` allows {limits.controls}"
                raise Fault("MESH117", message, start, segment.last_end)
    return found


def _count(segment: Segment, scope: Scope, limits: Budgets, word: str) -> int | float:
    start = segment.start
    if not segment.accept("("):
        if word == "pow":
            raise segment.unexpected("`(` and the exponent after `pow`", hint="write `pow(2) @ x q[0];`")
        return 1
    if word == "inv":
        raise Fault("QASM305", "`inv` takes no count", start, start + 1, hint="write `inv @`")
    if word == "pow":
        value = read_value(segment, scope, limits)
        if isinstance(value, Expression):
            raise Fault("QASM320", "an exponent is constant", start, segment.last_end)
    else:
        value = read_integer(segment, scope, limits)
        if value < 1:
            hint = "leave the modifier out"
            raise Fault("QASM305", "there is at least one control", start, segment.last_end, hint=hint)
    segment.expect(")", "`)`")
    return value


def num_controls(modifiers: Sequence[Modifier]) -> int:
    """Operands that modifiers put before the gate's own."""
    return sum(int(m.amount) for m in modifiers if m.word in {"ctrl", "negctrl"})


def modified(steps: Sequence[Primitive], modifiers: Sequence[Modifier], limits: Budgets) -> list[Primitive]:
    """Steps under modifiers; controls come first among the operands.

    Raises:
        Fault: when there would be too many steps (counted before they are made), or there is no such power.
    """
    found = list(steps)
    for modifier in reversed(modifiers):
        if modifier.word in {"inv", "pow"}:
            try:
                found = _turned(found, modifier, limits)
            except NoPower as error:
                hint = "write the power as gates, or use an integer exponent"
                raise Fault("QASM321", str(error), modifier.start, modifier.end, hint=hint) from error
            except TooLarge as error:
                message = f"{error} (`expression_tokens`)"
                raise Fault("MESH107", message, modifier.start, modifier.end) from error
            except ParameterError as error:
                raise Fault("QASM219", str(error), modifier.start, modifier.end) from error
    polarities = [m.word for m in modifiers for _ in range(int(m.amount)) if m.word in {"ctrl", "negctrl"}]
    if not polarities:
        return found
    first = next(m for m in modifiers if m.word in {"ctrl", "negctrl"})
    controls = tuple(range(len(polarities)))
    shift = tuple(range(len(polarities), len(polarities) + _width(found)))
    try:
        inner = _bounded(
            (step for before in found for step in controlled(placed(before, shift), controls)), first, limits
        )
    except TooLarge as error:
        raise Fault("MESH107", f"{error} (`expression_tokens`)", first.start, first.end) from error
    flips = [Primitive(GATES["x"], (), (k,)) for k in controls if polarities[k] == "negctrl"]
    return [*flips, *inner, *flips]


def _width(steps: Sequence[Primitive]) -> int:
    return max((max(step.operands) + 1 for step in steps if step.operands), default=0)


def _turned(steps: list[Primitive], modifier: Modifier, limits: Budgets) -> list[Primitive]:
    """The inverse, or a power."""
    if modifier.word == "inv":
        return _bounded(inverse(steps), modifier, limits)
    exponent = modifier.amount
    if isinstance(exponent, float) and not exponent.is_integer():
        return power(steps, exponent)
    times = int(exponent)
    if len(steps) == 1 and (single := multiple(steps[0], times)) is not None:
        return [single]
    if times < 0:
        steps = _bounded(inverse(steps), modifier, limits)
    if len(steps) * abs(times) > limits.gate_operations:
        raise _too_many(modifier, limits)
    return steps * abs(times)


def _bounded(steps: Iterable[Primitive], modifier: Modifier, limits: Budgets) -> list[Primitive]:
    found = list(islice(steps, limits.gate_operations + 1))
    if len(found) > limits.gate_operations:
        raise _too_many(modifier, limits)
    return found


def _too_many(modifier: Modifier, limits: Budgets) -> Fault:
    message = (
        f"{quoted(modifier.word)} makes more than {limits.gate_operations} operations (`gate_operations`)"
    )
    return Fault("MESH101", message, modifier.start, modifier.end, fatal=True)
