"""OpenQASM 2.0 and 3 to the normal form: the driver of the front end.

Responsible for statements, blocks, conditions of blocks and recovery; each kind of statement has a module of
its own. No recursion that a text can drive: blocks and operators live on explicit stacks.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qmesh_model import calls, collector, declarations, effects
from qmesh_model.bodies import Body, body_statement, close_body, open_body
from qmesh_model.budgets import Budgets
from qmesh_model.builder import Builder
from qmesh_model.circuit import Circuit, Comparison, Condition, Kind, Logical, RegisterComparison, Span
from qmesh_model.comparison import ConditionReader
from qmesh_model.conditions import ConditionTooLarge, joined
from qmesh_model.context import Context
from qmesh_model.diagnostics import CircuitError, Diagnostic
from qmesh_model.fastpath import FastPath
from qmesh_model.findings import CODES
from qmesh_model.limits import DEFAULT_LIMITS, Limits
from qmesh_model.loops import Loop, begin_pass, read_head
from qmesh_model.modifiers import WORDS
from qmesh_model.quoting import quoted
from qmesh_model.refusals import REFUSED, declared, refuse
from qmesh_model.reports import Reports, forbidden_character
from qmesh_model.segments import Fault, Lexer, Segment

type _Statement = Callable[[Context, Segment], None]

_STATEMENTS: Final[dict[str, _Statement]] = {
    "include": declarations.include,
    "qreg": declarations.register_old,
    "creg": declarations.register_old,
    "qubit": declarations.register_new,
    "bit": declarations.register_new,
    "const": declarations.constant,
    "input": declarations.input_,
    "let": declarations.alias,
    "measure": effects.measure,
    "reset": effects.reset,
    "barrier": effects.barrier,
    "delay": effects.delay,
}
_DECLARING: Final = frozenset({"include", "qreg", "creg", "qubit", "bit", "const", "input", "let", "gate"})
_IGNORABLE: Final = {
    "@": ("QASM309", "MESH155"),
    "#": ("QASM308", "MESH154"),
    "pragma": ("QASM308", "MESH154"),
}
_GUARDS: Final = frozenset({"if", "else", "for"})
_ELSE: Final = re.compile(r"else\b")
_CLOCK: Final = 16
"""Segments between two looks at the clock."""
_NEVER_CLOSED: Final = "the block is not closed"


@dataclass(slots=True)
class _If:
    """One `if` that an `else` may follow: what surrounds it, and its own condition."""

    outer: Condition | None
    own: Condition | None


@dataclass(slots=True)
class _Block:
    """An open `{`: kind "if", "for", "gate" or "skip", and what holds again after its `}`."""

    kind: str
    start: int
    condition: Condition | None
    waiting: list[_If] = field(default_factory=list)
    body: Body | None = None
    loop: Loop | None = None

    @property
    def single(self) -> bool:
        """A loop over one statement, which no `}` ends."""
        return self.loop is not None and self.loop.single


class _Abort(Exception):  # noqa: N818 - ends the reading, is no error of its own
    """Enough has been found."""


class _Parser:
    """Reads one text."""

    def __init__(self, text: str, limits: Budgets) -> None:
        self.limits = limits
        self.lexer = Lexer(text, limits)
        self.builder = Builder(limits)
        self.context = Context(limits, self.builder)
        self.reports = Reports(self.lexer, limits.diagnostics)
        self.blocks: list[_Block] = []
        self.waiting: list[_If] = []
        self.fast = FastPath(self.lexer, self.context)
        self.segments = 0
        self.deadline = time.thread_time() + limits.cpu_seconds

    def run(self) -> Circuit:
        """Reads everything.

        Raises:
            CircuitError: when anything is wrong.
        """
        with contextlib.suppress(_Abort):
            self._run()
        if self.reports.diagnostics:
            raise CircuitError(self.reports.diagnostics)
        context = self.context
        language = "2.0" if context.version2 else "3.0"
        return self.builder.finish(
            context.qubit_registers, context.bit_registers, context.symbols, language, self._warnings()
        )

    def _run(self) -> None:
        while True:
            plain = not self.blocks or (self.blocks[-1].kind in {"if", "for"} and not self.blocks[-1].single)
            if plain and self.fast.run():
                self.waiting.clear()
            if plain and not self.waiting and self.context.version:
                self.lexer.skip_empty()
            segment = self.lexer.segment()
            if segment is None:
                break
            try:
                self._check_time(segment)
                if self._is_ignored(segment):
                    continue
                self._segment(segment)
                self._finish_single()
            except Fault as fault:
                self._recover(segment, fault)
                self._finish_single()
        self._end()

    def _check_time(self, segment: Segment) -> None:
        self.segments += 1
        if self.segments % _CLOCK == 1 and time.thread_time() > self.deadline:
            message = (
                f"reading takes more than {self.limits.cpu_seconds:g} s of processor time (`cpu_seconds`)"
            )
            raise Fault("MESH120", message, segment.start, segment.end, fatal=True)

    def _end(self) -> None:
        at = len(self.lexer.text.rstrip())
        if self.blocks:
            self._report(
                Fault(
                    "QASM207", _NEVER_CLOSED, self.blocks[-1].start, self.blocks[-1].start + 1, hint="add `}`"
                )
            )
        elif not self.context.version and not self.reports.diagnostics:
            self._report(_no_version(max(0, at - 1), max(1, at)))
        elif not self.builder.num_qubits and not self.reports.diagnostics:
            hint = "declare `qreg q[2];`" if self.context.version2 else "declare `qubit[2] q;`"
            self._report(
                Fault("MESH115", "the text declares no qubit", max(0, at - 1), max(1, at), hint=hint)
            )

    def _is_ignored(self, segment: Segment) -> bool:
        """A pragma or an annotation: refused, or noted and its line skipped, whatever else stands in the line."""
        if segment.kind not in {"@", "#"} and segment.text != "pragma":
            return False
        if self.blocks and self.blocks[-1].kind == "skip":
            return False
        if segment.kind == "#" and segment.texts[1] != "pragma":
            hint = "comments begin with `//`"
            raise Fault("QASM200", "unexpected character `#`", segment.start, segment.end, hint=hint)
        code, warning = _IGNORABLE[segment.text]
        what = "annotations are" if segment.kind == "@" else "pragmas are"
        if self.limits.annotations == "refuse" or not self.context.version:
            raise Fault(code, f"{what} not supported", segment.start, segment.end, hint="remove the line")
        self.context.warn(warning, segment.start, segment.end, f"{what} ignored")
        self.lexer.next_line(segment.start)
        return True

    def _finish_single(self) -> None:
        """Ends the passes of loops whose only statement is complete."""
        while self.blocks and self.blocks[-1].single:
            loop = self.blocks[-1].loop
            if loop is None or loop.fresh:
                return
            if self.waiting and _ELSE.match(self.lexer.text, self.lexer.skip_blank()):
                return
            self._next_pass(self.blocks.pop(), loop)

    def _next_pass(self, block: _Block, loop: Loop) -> None:
        """Reads a loop's body again, or goes on after it."""
        self.fast.forget_values()
        if begin_pass(self.context, loop, self.lexer.position, self.segments):
            self.lexer.position = loop.body
            self.blocks.append(block)
            self.waiting = []
        else:
            self.builder.condition = block.condition
            self.waiting = block.waiting
            self.fast.forget()
            self.lexer.repeating = any(outer.loop is not None for outer in self.blocks)

    def _segment(self, segment: Segment) -> None:
        if self.blocks and (loop := self.blocks[-1].loop) is not None:
            loop.fresh = False
        if self.blocks and self.blocks[-1].kind == "skip":
            self._skipped(segment)
            return
        if segment.fault is not None:
            raise segment.fault
        if segment.kind == "}":
            self._close(segment)
            return
        self.builder.span = Span(*self.lexer.locate(segment.start), 0)
        if not self.context.version:
            self._first(segment)
            return
        if self.blocks and self.blocks[-1].body is not None:
            self._in_body(self.blocks[-1].body, segment)
            return
        self._statement(segment)

    def _in_body(self, body: Body, segment: Segment) -> None:
        if segment.kind == ";" and len(segment.kinds) == 1:
            return
        if segment.text in REFUSED:
            raise refuse(segment)
        body_statement(self.context, body, segment)

    def _first(self, segment: Segment) -> None:
        if segment.text == "OPENQASM":
            try:
                declarations.version(self.context, segment)
            except Fault:
                self.context.version = "3.0"
                raise
            return
        self.context.version = "2.0" if segment.text in {"qreg", "creg"} else "3.0"
        fault = _no_version(segment.start, segment.end)
        if segment.text.lower() == "openqasm":
            fault = Fault(
                "QASM204",
                "the version line is written `OPENQASM`",
                segment.start,
                segment.end,
                hint="write `OPENQASM 3.0;`",
            )
            self._recover(segment, fault)
            return
        self._report(fault)
        self._segment(segment)

    def _statement(self, segment: Segment) -> None:
        """One statement, with any number of `if (...)`, `else` and `for ...` before it."""
        outer, depth = self.builder.condition, len(self.blocks)
        if segment.text != "else":
            self.waiting.clear()
        ifs: list[_If] = []
        base = outer
        try:
            while segment.text in _GUARDS and segment.kind == "id":
                if segment.text == "for":
                    self._loop(segment, ifs, outer, base)
                    return
                base = self._guard(segment, base, ifs)
            self.builder.condition = base
            if segment.kind == "{":
                self._open(segment, ifs, outer)
                return
            if segment.kind == ";" and not ifs and len(segment.kinds) == 1:
                return
            if not ifs or not self.fast.one(segment):
                self._plain(segment)
        finally:
            if len(self.blocks) == depth:
                self.builder.condition = outer
                self.waiting += ifs

    def _loop(
        self, segment: Segment, ifs: list[_If], outer: Condition | None, base: Condition | None
    ) -> None:
        """The head of a loop, and its first pass."""
        at = segment.start
        loop = read_head(self.context, segment)
        if not segment.kind:
            raise segment.unexpected("a statement after the head of the loop")
        self._check_nesting(at, at + 3)
        loop.hidden = self.context.scope.names.get(loop.name)
        loop.statements = self.segments
        loop.single = segment.kind != "{"
        loop.body = segment.start + (0 if loop.single else 1)
        block = _Block("for", at, outer, [*self.waiting, *ifs], loop=loop)
        self.waiting = []
        self.lexer.position = loop.body
        self.fast.forget()
        self.lexer.repeating = True
        if begin_pass(self.context, loop):
            self.builder.condition = base
            self.blocks.append(block)
        elif loop.single:
            raise Fault(
                "QASM306", "the range is empty", at, loop.end, hint="put the body in braces, or remove it"
            )
        else:
            self.waiting = block.waiting
            self.blocks.append(_Block("skip", at, outer, block.waiting))

    def _check_nesting(self, start: int, end: int) -> None:
        if len(self.blocks) >= self.limits.nesting:
            message = f"blocks are nested too deeply; `nesting` allows {self.limits.nesting}"
            raise Fault("MESH104", message, start, end, fatal=True)

    def _guard(self, segment: Segment, base: Condition | None, ifs: list[_If]) -> Condition | None:
        """Reads one `if (...)` or `else`; the condition that holds after it."""
        start, end = segment.start, segment.end
        if len(ifs) >= self.limits.nesting:
            raise Fault(
                "MESH104", f"`if` is nested too deeply; `nesting` allows {self.limits.nesting}", start, end
            )
        if segment.take() == "else":
            if ifs or not self.waiting:
                raise Fault(
                    "QASM202",
                    "`else` follows no `if`",
                    start,
                    end,
                    hint="`else` stands directly after the body of its `if`",
                )
            before = self.waiting.pop()
            return self._both(before.outer, before.own.negated() if before.own else None, start, end)
        own = self._condition(segment, start, end)
        ifs.append(_If(base, own))
        return self._both(base, own, start, end)

    def _both(self, outer: Condition | None, own: Condition | None, start: int, end: int) -> Condition | None:
        if outer is None or own is None:
            return own or outer
        try:
            return joined(outer, Logical.AND, own)
        except ConditionTooLarge as error:
            raise Fault("MESH108", f"{error} (`condition_tokens`)", start, end) from error

    def _condition(self, segment: Segment, start: int, end: int) -> Condition:
        first = segment.at
        segment.expect("(", "`(` after `if`", hint="write `if (c == 1) x q[0];`")
        condition = ConditionReader(segment, self.context.scope, self.limits, self.builder).read()
        segment.expect(")", "`)`")
        if self.context.version2:
            shape = segment.kinds[first : segment.at]
            token = condition.steps[0]
            if (
                shape != ["(", "id", "==", "int", ")"]
                or not isinstance(token, RegisterComparison)
                or token.comparison is not Comparison.EQUAL
            ):
                raise Fault(
                    "QASM226",
                    "OpenQASM 2 compares a whole register with an integer",
                    start,
                    end,
                    hint="write `if (c == 1) x q[0];`, or begin the text with `OPENQASM 3.0;`",
                )
        if not condition.versions:
            self.context.warn("MESH151", start, end, "the condition reads no bit that was written before")
        return condition

    def _open(self, segment: Segment, ifs: list[_If], outer: Condition | None) -> None:
        start = segment.start
        if self.context.version2:
            raise Fault(
                "QASM208",
                "a block needs OpenQASM 3",
                start,
                start + 1,
                hint="write one `if` for each operation",
            )
        if self.builder.condition is outer and not ifs and len(segment.kinds) == 1:
            raise segment.unexpected("a statement before `{`")
        self._check_nesting(start, start + 1)
        self.blocks.append(_Block("if", start, outer, [*self.waiting, *ifs]))
        self.waiting = []

    def _plain(self, segment: Segment) -> None:
        text, kind = segment.text, segment.kind
        if kind == "$":
            hint = "declare `qubit[n] q;`"
            raise Fault("QASM318", "physical qubits are not supported", segment.start, segment.end, hint=hint)
        if kind == "id" and text in REFUSED and not self._is_gate(text):
            self.context.scope.broken |= declared(segment)
            raise refuse(segment)
        if kind != "id":
            raise segment.unexpected("a statement")
        if text in _DECLARING and (self.blocks or self.builder.condition is not None):
            raise Fault(
                "QASM317",
                f"{quoted(text)} stands inside a block",
                segment.start,
                segment.end,
                hint="move it to the top level",
            )
        if text in _DECLARING:
            self.fast.scope_changed = True
        if text == "gate":
            body = open_body(self.context, segment)
            self.blocks.append(_Block("gate", segment.starts[-1], self.builder.condition, body=body))
        elif text == "OPENQASM":
            raise Fault("QASM209", "the version line comes first and once", segment.start, segment.end)
        else:
            self._span(segment)
            entry = self.context.scope.names.get(text)
            handler = _STATEMENTS.get(text)
            if text in WORDS:
                handler = calls.modified_call
            elif handler is None:
                assigned = entry is not None and entry.kind in {"bit", "qubit"}
                handler = effects.assignment if assigned else calls.call
            handler(self.context, segment)
            if segment.kinds[-1] != ";":
                raise segment.unexpected("`;`")

    def _is_gate(self, name: str) -> bool:
        entry = self.context.scope.names.get(name)
        return entry is not None and entry.kind == "gate"

    def _span(self, segment: Segment) -> None:
        line, column = self.lexer.locate(segment.start)
        last = segment.starts[-1] + len(segment.texts[-1])
        stop = self.lexer.text.find("\n", segment.start, last)
        self.builder.span = Span(line, column, column + (last if stop < 0 else stop) - segment.start)

    def _close(self, segment: Segment) -> None:
        if not self.blocks:
            raise Fault("QASM207", "this `}` closes nothing", segment.start, segment.end)
        if self.blocks[-1].single:
            raise segment.unexpected("a statement after the head of the loop")
        block = self.blocks.pop()
        if block.loop is not None:
            self._next_pass(block, block.loop)
            return
        self.builder.condition = block.condition
        self.waiting = block.waiting
        if block.body is not None:
            close_body(self.context, block.body)
            self.fast.scope_changed = True

    def _skipped(self, segment: Segment) -> None:
        last = segment.kinds[-1]
        if last == "}":
            self._close(segment)
        elif last == "{":
            self._check_nesting(segment.starts[-1], segment.starts[-1] + 1)
            self.blocks.append(_Block("skip", segment.starts[-1], self.builder.condition))

    def _recover(self, segment: Segment, fault: Fault) -> None:
        """Notes a fault and finds the place to go on from: after `;`, into or out of a block, or the next line."""
        for block in self.blocks:
            if block.loop is not None:
                block.loop.stop()
            if block.body is not None:
                block.body.broken = True
        self._report(fault)
        last, start = segment.kinds[-1], segment.starts[-1]
        if fault.code in {"QASM308", "QASM309"} or self.lexer.text[fault.start : fault.end] == "#":
            self.lexer.next_line(fault.start)
            return
        if last == "{" and not (self.blocks and self.blocks[-1].start == start):
            if len(self.blocks) >= self.limits.nesting:
                raise _Abort
            kind = "if" if segment.texts[0] in {"if", "else"} else "skip"
            waiting = [_If(self.builder.condition, None)] if kind == "if" else []
            self.blocks.append(_Block(kind, start, self.builder.condition, waiting))
        elif last == "}" and len(segment.kinds) > 1:
            while self.blocks and self.blocks[-1].single and (loop := self.blocks[-1].loop) is not None:
                self._next_pass(self.blocks.pop(), loop)
            if self.blocks:
                self._close(segment)

    def _report(self, fault: Fault) -> None:
        if self.reports.add(fault, in_loop=any(block.loop is not None for block in self.blocks)):
            raise _Abort

    def _warnings(self) -> list[Diagnostic]:
        if not any(draft[0] is Kind.MEASURE for draft in self.builder.drafts):
            self.context.warn("MESH152", 0, 1, "nothing is measured")
        if not any(draft[2] for draft in self.builder.drafts):
            self.context.warn("MESH156", 0, 1, "there is nothing to execute")
        return self.reports.warnings(self.context.warnings)


def _no_version(start: int, end: int) -> Fault:
    return Fault(
        "QASM204",
        "the version line is missing",
        start,
        end,
        hint="begin the text with `OPENQASM 3.0;` or `OPENQASM 2.0;`",
    )


_LINE_END: Final = re.compile(r"\r\n?")


def parse(text: str, limits: Limits = DEFAULT_LIMITS) -> Circuit:
    """Reads a text in OpenQASM 2.0 or 3, or in service words.

    Args:
        text: the program.
        limits: bounds; checked before anything of that size is made.

    Returns:
        The circuit in normal form; `warnings` holds what forbids nothing.

    Raises:
        CircuitError: with every error of one pass, at most `limits.diagnostics`.
    """
    if len(text) > limits.text_bytes or len(text.encode("utf-8", "surrogatepass")) > limits.text_bytes:
        message = f"the text has more than {limits.text_bytes} bytes (`text_bytes`)"
        raise CircuitError([Diagnostic("MESH100", message, 1, 1, 2, CODES["MESH100"].hint)])
    forbidden = forbidden_character(text)
    if forbidden is not None:
        raise CircuitError([forbidden])
    with collector.paused():
        return _Parser(_LINE_END.sub("\n", text), Budgets.of(limits)).run()
