"""Gathers operations in normal form: indices, versions of bits, terminal measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Condition, Kind, Operation, Span, Write
from qmesh_model.diagnostics import Diagnostic
from qmesh_model.operands import Scope
from qmesh_model.parameters import Expression, Parameter, apply_binary

_MEASUREMENT = "measurement_feedforward"


class Builder:
    """Appends operations; every classical write makes a new version of its bit."""

    def __init__(self) -> None:
        """Starts empty."""
        self._operations: list[Operation] = []
        self._versions = 0
        self._current: dict[int, int] = {}
        self._warnings: list[Diagnostic] = []
        self._phase: Parameter = 0.0

    @property
    def count(self) -> int:
        """Operations so far."""
        return len(self._operations)

    def version(self, bit: int) -> int:
        """Newest version of a bit; -1 before its first write."""
        return self._current.get(bit, -1)

    def warn(self, warning: Diagnostic) -> None:
        """Notes a warning."""
        self._warnings.append(warning)

    def add_phase(self, phase: Parameter) -> None:
        """Adds to the global phase."""
        self._phase = apply_binary("+", self._phase, phase)

    def _append(self, operation: Operation) -> None:
        self._operations.append(operation)

    def _write(self, bits: Iterable[int]) -> tuple[Write, ...]:
        writes = []
        for bit in bits:
            writes.append(Write(bit, self._versions, self.version(bit)))
            self._current[bit] = self._versions
            self._versions += 1
        return tuple(writes)

    def gate(
        self,
        name: str,
        qubits: tuple[int, ...],
        parameters: tuple[Parameter, ...],
        condition: Condition | None,
        span: Span,
        kind: Kind = Kind.GATE,
        service_type: str | None = None,
    ) -> None:
        """Appends a gate of the catalogue."""
        service = "" if kind is Kind.SWAP else service_type or gates.GATES[name].service_type
        self._append(
            Operation(self.count, kind, name, service, qubits, parameters, (), condition, terminal=False, span=span)
        )

    def measure(self, qubit: int, bit: int, condition: Condition | None, span: Span) -> None:
        """Appends the measurement of one qubit into one bit."""
        writes = self._write((bit,))
        self._append(
            Operation(
                self.count, Kind.MEASURE, "measure", _MEASUREMENT, (qubit,), (), writes, condition, span=span
            )
        )

    def reset(self, qubit: int, condition: Condition | None, span: Span) -> None:
        """Appends a reset."""
        self._append(
            Operation(self.count, Kind.RESET, "reset", _MEASUREMENT, (qubit,), (), (), condition, span=span)
        )

    def barrier(self, qubits: tuple[int, ...], span: Span, kind: Kind = Kind.BARRIER) -> None:
        """Appends an ordering mark or a delay."""
        name = "barrier" if kind is Kind.BARRIER else "delay"
        self._append(Operation(self.count, kind, name, "", qubits, span=span))

    def word(
        self, kind: Kind, name: str, service_type: str, qubits: tuple[int, ...], bits: Iterable[int],
        condition: Condition | None, span: Span,
    ) -> None:
        """Appends a service word that is no gate of the catalogue."""
        writes = self._write(bits)
        self._append(Operation(self.count, kind, name, service_type, qubits, (), writes, condition, span=span))

    def finish(self, scope: Scope, inputs: Iterable[str], language: str) -> Circuit:
        """The circuit, with its terminal measurements marked."""
        operations = _mark_terminal(self._operations)
        used: set[str] = set()
        for operation in operations:
            for parameter in operation.parameters:
                if isinstance(parameter, Expression):
                    used |= parameter.symbols()
        if isinstance(self._phase, Expression):
            used |= self._phase.symbols()
        return Circuit(
            num_qubits=scope.num_qubits,
            num_bits=scope.num_bits,
            num_versions=self._versions,
            qubit_registers=scope.registers(quantum=True),
            bit_registers=scope.registers(quantum=False),
            operations=operations,
            final_versions=tuple(self.version(bit) for bit in range(scope.num_bits)),
            symbols=tuple(sorted(used | set(inputs))),
            global_phase=self._phase,
            language=language,
            warnings=tuple(self._warnings),
        )


def _mark_terminal(operations: list[Operation]) -> tuple[Operation, ...]:
    """A measurement is terminal when it is unconditioned, no condition reads its bit (nor keeps it), and nothing but
    barriers and delays touches its qubit afterwards.
    """
    read: set[int] = set()
    for operation in operations:
        if operation.condition is not None:
            read |= operation.condition.versions
            read |= {write.previous for write in operation.writes}
    touched: set[int] = set()
    marked: list[Operation] = []
    for operation in reversed(operations):
        if (
            operation.kind is Kind.MEASURE
            and operation.condition is None
            and operation.qubits[0] not in touched
            and operation.writes[0].version not in read
        ):
            marked.append(replace(operation, terminal=True))
            touched.add(operation.qubits[0])
            continue
        if operation.kind not in {Kind.BARRIER, Kind.DELAY}:
            touched.update(operation.qubits)
        marked.append(operation)
    return tuple(reversed(marked))
