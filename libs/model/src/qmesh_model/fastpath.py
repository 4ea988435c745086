"""The common statement `name(params) q[i], r[j];` by one regular expression.

Responsible for speed only: whatever is not plainly right is left to the parser, which says what is wrong.
"""

from __future__ import annotations

import re
from typing import Final

from qmesh_model import gates
from qmesh_model.arithmetic import read_parameter
from qmesh_model.circuit import Register, Span
from qmesh_model.context import Context
from qmesh_model.gates import Gate
from qmesh_model.parameters import Parameter
from qmesh_model.segments import Fault, Lexer

_OPERAND: Final = r"([A-Za-z_]\w*+)[ \t]*+\[[ \t]*+([0-9]{1,10})[ \t]*+\][ \t]*+"
_STATEMENT: Final = re.compile(
    rf"(?:[ \t\n]++|//[^\n]*+)*+([A-Za-z_]\w*+)[ \t]*+(?:\(([^()\";{{}}\[\]\n]*+)\)[ \t]*+)?+"
    rf"{_OPERAND}(?:,[ \t]*+{_OPERAND})?+(?:,[ \t]*+{_OPERAND})?+;",
    re.ASCII,
)
_MEASURE: Final = re.compile(
    rf"(?:[ \t\n]++|//[^\n]*+)*+measure[ \t]++{_OPERAND}->[ \t]*+{_OPERAND};",
    re.ASCII,
)
_RUN: Final = 2_000
"""Statements after which the parser looks at the clock."""


class FastPath:
    """Reads runs of plain gate statements.

    Attributes:
        scope_changed: names may have changed since the last run.
    """

    __slots__ = ("_callees", "_context", "_lexer", "_params", "_registers", "scope_changed")

    def __init__(self, lexer: Lexer, context: Context) -> None:
        self._lexer = lexer
        self._context = context
        self._callees: dict[str, Gate | None] = {}
        self._params: dict[str, tuple[Parameter, ...] | None] = {}
        self._registers: dict[str, Register] = {}
        self.scope_changed = True

    def run(self) -> int:
        """Emits statements while they are plain; how many were."""
        context, lexer = self._context, self._lexer
        if not context.version:
            return 0
        if self.scope_changed:
            self._refresh()
        count = 0
        while count < _RUN:
            found = _STATEMENT.match(lexer.text, lexer.position)
            if found is None:
                found = _MEASURE.match(lexer.text, lexer.position)
                if found is None or not self._measure(found):
                    return count
            elif not self._gate(found):
                return count
            lexer.position = found.end()
            count += 1
        return count

    def forget(self) -> None:
        """Names have been hidden or uncovered, which their number does not show."""
        self.scope_changed = True
        self._registers = {}

    def _refresh(self) -> None:
        self.scope_changed = False
        self._callees.clear()
        self._params.clear()
        names = self._context.scope.names
        if not self._registers or len(self._registers) != len(self._context.qubit_registers) + len(
            self._context.bit_registers
        ):
            self._registers = {
                ("" if entry.kind == "qubit" else "=") + name: entry.register
                for name, entry in names.items()
                if entry.register is not None and entry.elements is None and not entry.scalar
            }

    def _callee(self, name: str) -> Gate | None:
        scope = self._context.scope
        gate = None
        known = name in scope.library or name in gates.BUILTIN or name in gates.UNITARY_WORDS
        if known and name not in scope.names and name not in scope.broken:
            gate = gates.resolve(name)
        self._callees[name] = gate
        return gate

    def _gate(self, found: re.Match[str]) -> bool:
        name, text, r0, i0, r1, i1, r2, i2 = found.groups()
        gate = self._callees.get(name) or (None if name in self._callees else self._callee(name))
        if gate is None:
            return False
        registers = self._registers
        qubits = []
        for register_name, digits in ((r0, i0), (r1, i1), (r2, i2)):
            if register_name is None:
                break
            register = registers.get(register_name)
            index = int(digits)
            if register is None or index >= register.size:
                return False
            qubits.append(register.offset + index)
        if len(qubits) != gate.num_qubits or len(set(qubits)) != len(qubits):
            return False
        params: tuple[Parameter, ...] | None = ()
        if text is not None:
            params = self._params[text] if text in self._params else self._parameters(text)
        if params is None or len(params) != gate.num_params:
            return False
        builder = self._context.builder
        start, end = found.start(1), found.end()
        builder.reserve(1, len(qubits), start, end)
        line, column = self._lexer.locate(start)
        builder.span = Span(line, column, column + end - start)
        builder.gate(gate, params, tuple(qubits))
        return True

    def _measure(self, found: re.Match[str]) -> bool:
        qubit_register, bit_register = self._registers.get(found[1]), self._registers.get("=" + found[3])
        qubit, bit = int(found[2]), int(found[4])
        if (
            qubit_register is None
            or bit_register is None
            or qubit >= qubit_register.size
            or bit >= bit_register.size
        ):
            return False
        builder = self._context.builder
        start, end = found.end() - len(found[0].lstrip()), found.end()
        builder.reserve(1, 1, start, end)
        line, column = self._lexer.locate(start)
        builder.span = Span(line, column, column + end - start)
        builder.measure(qubit_register.offset + qubit, bit_register.offset + bit)
        return True

    def _parameters(self, text: str) -> tuple[Parameter, ...] | None:
        """Values of a parameter list; None when the parser had better look at it."""
        context = self._context
        values: tuple[Parameter, ...] | None = None
        if "//" not in text and "/*" not in text and text.strip():
            segment = Lexer(text + ";", context.limits).segment()
            if segment is not None and segment.fault is None:
                found: list[Parameter] = []
                try:
                    while True:
                        found.append(
                            read_parameter(
                                segment, context.scope, context.limits, caret_is_power=context.version2
                            )
                        )
                        if not segment.accept(","):
                            break
                    values = tuple(found) if segment.kind == ";" else None
                except Fault:
                    values = None
        self._params[text] = values
        return values
