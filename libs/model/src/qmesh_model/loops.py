"""Bounded loops: the head `for int i in [0:3]`, and the passes over a body that is read again.

Responsible for values and budgets; the body's statements are the parser's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from qmesh_model.arithmetic import read_integer
from qmesh_model.context import Context
from qmesh_model.quoting import quoted
from qmesh_model.scope import KEYWORDS, Declared
from qmesh_model.segments import Fault, Segment

_STATEMENT_BYTES: Final = 64
"""Least cost of a statement that is read again, in bytes of text."""
_TYPES: Final = frozenset({"int", "uint"})


@dataclass(slots=True)
class Loop:
    """One loop that is being unrolled.

    Attributes:
        name: its variable.
        start: offset of the variable in the head.
        end: offset after it.
        values: values still to come.
        left: how many they are.
        body: offset of the body.
        single: the body is one statement without braces.
        fresh: the body of this pass has not begun.
        hidden: what the variable hides.
        measured: the body's length has been counted.
        statements: statements that had been read when the first pass began.
    """

    name: str
    start: int
    end: int
    values: Iterator[int]
    left: int
    body: int = 0
    single: bool = False
    fresh: bool = True
    hidden: Declared | None = None
    measured: bool = False
    statements: int = 0

    def stop(self) -> None:
        """Forgets the passes to come."""
        self.values, self.left = iter(()), 0


def read_head(context: Context, segment: Segment) -> Loop:
    """`for int i in [0:3]`, `for uint[8] i in {1, 4}`; the cursor stands after it.

    Raises:
        Fault: on errors of syntax, and when the passes exceed the budget, before any is made.
    """
    start, end = segment.start, segment.end
    if context.version2:
        raise Fault("QASM208", "`for` needs OpenQASM 3", start, end, hint="begin with `OPENQASM 3.0;`")
    segment.take()
    if segment.text not in _TYPES:
        hint = "write `for int i in [0:3] { ... }`"
        if segment.kind == "id" and segment.kinds[segment.at + 1] == "id" and segment.text != "in":
            message = f"a loop runs over integers, not {quoted(segment.text)}"
            raise Fault("QASM306", message, segment.start, segment.end, hint=hint)
        raise segment.unexpected("`int` or `uint` after `for`", hint=hint)
    segment.take()
    if segment.accept("["):
        read_integer(segment, context.scope, context.limits)
        segment.expect("]", "`]`")
    start, end = segment.start, segment.end
    name = segment.expect("id", "a name")
    if name in KEYWORDS:
        hint = "choose another name"
        raise Fault("QASM224", f"{quoted(name)} is a word of the language", start, end, hint=hint)
    if segment.text != "in":
        raise segment.unexpected("`in`", hint="write `for int i in [0:3] { ... }`")
    segment.take()
    at = segment.start
    values = _values(context, segment)
    context.iterations += len(values)
    if context.iterations > context.limits.iterations:
        message = f"the loops run more than {context.limits.iterations} times together (`iterations`)"
        raise Fault("MESH119", message, at, segment.last_end, fatal=True)
    return Loop(name, start, end, iter(values), len(values))


def _values(context: Context, segment: Segment) -> Sequence[int]:
    if segment.accept("{"):
        found = [read_integer(segment, context.scope, context.limits)]
        while segment.accept(","):
            found.append(read_integer(segment, context.scope, context.limits))
        segment.expect("}", "`}`")
        return found
    if segment.kind != "[":
        raise Fault(
            "QASM306",
            "a loop runs over a constant range or set",
            segment.start,
            segment.end,
            hint="write `[0:3]`, both ends included, or `{0, 2, 5}`",
        )
    start = segment.start
    segment.take()
    bounds = [read_integer(segment, context.scope, context.limits)]
    while segment.kind == ":":
        segment.take()
        bounds.append(read_integer(segment, context.scope, context.limits))
    segment.expect("]", "`]`")
    first, last, step = bounds[0], bounds[-1], bounds[1] if len(bounds) > 2 else 1  # noqa: PLR2004 - start:step:stop
    if not 2 <= len(bounds) <= 3 or step == 0:  # noqa: PLR2004 - start:stop, start:step:stop
        hint = "write `[0:3]` or `[0:2:6]`; the step is not 0"
        raise Fault("QASM306", "this is no range", start, segment.last_end, hint=hint)
    return range(first, last + (1 if step > 0 else -1), step)


def begin_pass(context: Context, loop: Loop, end: int = 0, statements: int = 0) -> bool:
    """Gives the variable its next value; False when there is none, and the name is as it was before.

    Args:
        context: what the text's statements share.
        loop: the loop.
        end: offset after the body, once it has been read.
        statements: statements read so far; even an empty one is work.

    Raises:
        Fault: when the passes to come would read too much text again, before they do.
    """
    names = context.scope.names
    if end and not loop.measured:
        loop.measured = True
        body = end - loop.body + _STATEMENT_BYTES * (statements - loop.statements)
        context.reread += body * loop.left
        if context.reread > context.limits.loop_bytes:
            message = f"the loops read more than {context.limits.loop_bytes} bytes again (`loop_bytes`)"
            raise Fault("MESH119", message, loop.start, loop.end, fatal=True)
    value = next(loop.values, None)
    if value is None:
        if loop.hidden is None:
            names.pop(loop.name, None)
        else:
            names[loop.name] = loop.hidden
        return False
    loop.left -= 1
    loop.fresh = True
    names[loop.name] = Declared("const", loop.start, loop.end, value=value)
    return True
