"""What the statements of one text share while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from qmesh_model.arithmetic import read_parameter
from qmesh_model.budgets import Budgets
from qmesh_model.builder import Builder
from qmesh_model.circuit import Register
from qmesh_model.operands import Operand, read_operand, read_operands
from qmesh_model.parameters import Parameter
from qmesh_model.scope import Scope
from qmesh_model.segments import Segment


@dataclass(slots=True)
class Context:
    """State of the reading of one text.

    Attributes:
        limits: bounds.
        builder: the normal form so far.
        scope: names.
        version: "2.0", "3.0" or "3.1"; empty before the version line.
        qubit_registers: declared quantum registers.
        bit_registers: declared classical registers.
        symbols: declared inputs.
        gate_operations: steps of all gate definitions.
        iterations: passes of all loops so far.
        reread: text that loops read again.
        warnings: code to the offsets of its first occurrence and its message.
    """

    limits: Budgets
    builder: Builder
    scope: Scope = field(default_factory=Scope)
    version: str = ""
    qubit_registers: list[Register] = field(default_factory=list)
    bit_registers: list[Register] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    gate_operations: int = 0
    iterations: int = 0
    reread: int = 0
    warnings: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    @property
    def version2(self) -> bool:
        """Whether the text is OpenQASM 2."""
        return self.version == "2.0"

    def warn(self, code: str, start: int, end: int, message: str) -> None:
        """Notes the first occurrence of a warning."""
        self.warnings.setdefault(code, (start, end, message))

    def is_register(self, name: str) -> bool:
        """Whether a name is a register, or was meant to be one."""
        entry = self.scope.names.get(name)
        return name in self.scope.broken or (entry is not None and entry.register is not None)

    def qubits(self, segment: Segment) -> list[Operand]:
        """Reads qubit operands separated by commas."""
        return read_operands(segment, self.scope, self.limits, version2=self.version2)

    def operand(self, segment: Segment, kind: str) -> Operand:
        """Reads one operand."""
        return read_operand(segment, self.scope, self.limits, kind=kind, version2=self.version2)

    def parameters(self, segment: Segment, scope: Scope | None = None) -> tuple[Parameter, ...]:
        """Reads an optional parenthesised list of parameters; a gate body has a scope of its own."""
        scope = scope or self.scope
        opened = segment.start
        if not segment.accept("("):
            return ()
        found: list[Parameter] = []
        if segment.kind != ")":
            found.append(read_parameter(segment, scope, self.limits, caret_is_power=self.version2))
            while segment.accept(","):
                found.append(read_parameter(segment, scope, self.limits, caret_is_power=self.version2))
        if segment.kind != ")":
            number = segment.kinds[segment.at - 1] in {"int", "float"}
            product = number and segment.kind in {"id", "("} and not self.is_register(segment.text)
            hint = (
                f"a product is written with `*`: `{segment.texts[segment.at - 1][:16]}*{segment.text[:16]}`"
                if product
                else "close the parenthesis, or put `,` between parameters"
            )
            fault = segment.unexpected("`)`", hint=hint)
            fault.other = (opened, opened + 1, "opened here")
            raise fault
        segment.take()
        return tuple(found)
