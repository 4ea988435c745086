"""Makes the normal form, holds the budgets and marks terminal measurements.

Execution.md sections 3 and 4.

Responsible for meaning; the parser has already checked names, arities and ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qmesh_model.budgets import Budgets
from qmesh_model.circuit import Circuit, Condition, Kind, Operation, Register, Span, Write
from qmesh_model.definitions import Definition, Primitive
from qmesh_model.diagnostics import Diagnostic
from qmesh_model.gates import Gate
from qmesh_model.parameters import Expression, Parameter, ParameterError, TooLarge, apply_binary
from qmesh_model.segments import Fault
from qmesh_model.words import MAX_ROUNDS

_IDLE = frozenset({Kind.BARRIER, Kind.DELAY})
_EXCHANGES = {"swap": Kind.SWAP, "teleport": Kind.TELEPORT}

type _Draft = tuple[
    Kind,
    str,
    str,
    tuple[int, ...],
    tuple[Parameter, ...],
    tuple[Write, ...],
    Condition | None,
    Span,
]


class Builder:
    """Collects operations in order.

    Attributes:
        condition: condition of everything emitted now; None for always.
        span: place of everything emitted now.
        conditioned_phase: a global phase was dropped because it is conditioned.
    """

    def __init__(self, limits: Budgets) -> None:
        self.limits = limits
        self.condition: Condition | None = None
        self.span = Span(1, 1, 1)
        self.conditioned_phase = False
        self.drafts: list[_Draft] = []
        self.current: list[int] = []
        self.num_versions = 0
        self.num_qubits = 0
        self.phase: Parameter = 0.0
        self.symbols: set[str] = set()
        self._rounds: dict[int, int] = {}
        self._operands = 0
        self._reads = 0
        self._work = 0

    def reserve(self, count: int, operands: int, start: int, end: int) -> None:
        """Counts operations before they are made.

        Raises:
            Fault: when a budget does not allow them; fatal.
        """
        limits = self.limits
        if len(self.drafts) + count > limits.operations:
            message = f"the circuit has more than {limits.operations} operations (`operations`)"
            raise Fault("MESH101", message, start, end, fatal=True)
        self._operands += operands
        if self._operands > limits.operands:
            message = f"the operations have more than {limits.operands} operands together (`operands`)"
            raise Fault("MESH109", message, start, end, fatal=True)
        if self.condition is not None:
            self._reads += count * max(1, sum(map(_width, self.condition.steps)))
            self._check_reads(start, end)

    def _check_reads(self, start: int, end: int) -> None:
        if self._reads > self.limits.condition_reads:
            message = f"the conditions read more than {self.limits.condition_reads} bits together (`condition_reads`)"
            raise Fault("MESH108", message, start, end, fatal=True)

    def versions_of(self, bits: Sequence[int], start: int, end: int) -> tuple[int, ...]:
        """Versions of bits now.

        Raises:
            Fault: when the budget of conditions does not allow to read them; fatal.
        """
        self._reads += len(bits)
        self._check_reads(start, end)
        return tuple(self.current[bit] for bit in bits)

    def gate(
        self, gate: Gate, params: tuple[Parameter, ...], qubits: tuple[int, ...], service: str = ""
    ) -> None:
        """Emits one gate of the catalogue."""
        kind = Kind.GATE
        service = service or gate.service_type
        if self.condition is None and gate.name in _EXCHANGES:
            kind = _EXCHANGES[gate.name]
            service = "" if kind is Kind.SWAP else service
        for parameter in params:
            if isinstance(parameter, Expression):
                self.symbols |= parameter.symbols()
        if len(qubits) > 1 and self._rounds:
            for qubit in qubits:
                self._rounds.pop(qubit, None)
        self.drafts.append((kind, gate.name, service, qubits, params, (), self.condition, self.span))

    def substituted(
        self, definition: Definition, params: Sequence[Parameter], start: int, end: int
    ) -> list[Primitive]:
        """Steps of a user's gate with its parameters given.

        Raises:
            Fault: when a budget does not allow it, or a parameter has no finite value.
        """
        if not definition.params:
            return list(definition.steps)
        given = dict(zip(definition.params, params, strict=True))
        return [
            Primitive(step.gate, self._substituted(step.params, given, start, end), step.operands)
            for step in definition.steps
        ]

    def steps(
        self, steps: Sequence[Primitive], rows: Sequence[tuple[int, ...]], start: int, end: int
    ) -> None:
        """Emits steps for each row of operands.

        Raises:
            Fault: when a budget does not allow it.
        """
        width = sum(len(step.operands) for step in steps)
        self.reserve(len(steps) * len(rows), width * len(rows), start, end)
        self.emit(steps, rows, start, end)

    def emit(self, steps: Sequence[Primitive], rows: Sequence[tuple[int, ...]], start: int, end: int) -> None:
        """Emits steps that are counted already."""
        for row in rows:
            for step in steps:
                if step.gate is not None:
                    self.gate(step.gate, step.params, tuple([row[i] for i in step.operands]))
                elif step.params:
                    self.global_phase(step.params[0], start, end)
                else:
                    self.barrier(tuple([row[i] for i in step.operands]))

    def _substituted(
        self, params: tuple[Parameter, ...], given: Mapping[str, Parameter], start: int, end: int
    ) -> tuple[Parameter, ...]:
        if not any(isinstance(p, Expression) for p in params):
            return params
        self.spend(sum(len(p.tokens) for p in params if isinstance(p, Expression)), start, end)
        try:
            return tuple(p.substitute(given) if isinstance(p, Expression) else p for p in params)
        except TooLarge as error:
            raise Fault("MESH107", f"{error} (`expression_tokens`)", start, end) from error
        except ParameterError as error:
            raise Fault("QASM219", f"a parameter inside the gate: {error}", start, end) from error

    def spend(self, steps: int, start: int, end: int) -> None:
        """Counts the evaluation of symbolic expressions.

        Raises:
            Fault: when the budget does not allow it; fatal.
        """
        self._work += steps
        if self._work > self.limits.expression_work:
            message = f"the expressions have more than {self.limits.expression_work} steps together (`expression_work`)"
            raise Fault("MESH107", message, start, end, fatal=True)

    def global_phase(self, angle: Parameter, start: int, end: int) -> None:
        """Adds to the global phase; a conditioned one is unobservable and only noted."""
        if self.condition is not None:
            self.conditioned_phase = True
            return
        try:
            self.phase = apply_binary("+", self.phase, angle) if self.phase else angle
        except ParameterError as error:
            raise Fault("MESH107", f"the global phase: {error}", start, end) from error
        if isinstance(angle, Expression):
            self.symbols |= angle.symbols()

    def _write(self, bit: int) -> Write:
        write = Write(bit, self.num_versions, self.current[bit])
        self.current[bit] = self.num_versions
        self.num_versions += 1
        return write

    def measure(self, qubit: int, bit: int) -> None:
        """Emits the measurement of one qubit into one bit."""
        writes = (self._write(bit),)
        service = "measurement_feedforward"
        self.drafts.append(
            (Kind.MEASURE, "measure", service, (qubit,), (), writes, self.condition, self.span)
        )

    def reset(self, qubit: int) -> None:
        """Emits a reset."""
        service = "measurement_feedforward"
        self.drafts.append((Kind.RESET, "reset", service, (qubit,), (), (), self.condition, self.span))

    def barrier(self, qubits: tuple[int, ...]) -> None:
        """Emits a barrier; it has no effect, so no condition either."""
        self.drafts.append((Kind.BARRIER, "barrier", "", qubits, (), (), None, self.span))

    def delay(self, qubit: int, seconds: float) -> None:
        """Emits idling."""
        self.drafts.append((Kind.DELAY, "delay", "", (qubit,), (seconds,), (), self.condition, self.span))

    def distillation(self, qubit: int, name: str, start: int, end: int) -> None:
        """Emits a request to purify the next pair of a qubit.

        Raises:
            Fault: when it is one round too many.
        """
        rounds = self._rounds.get(qubit, 0) + 1
        if rounds > MAX_ROUNDS:
            raise Fault("MESH116", f"at most {MAX_ROUNDS} rounds precede one remote operation", start, end)
        self._rounds[qubit] = rounds
        self.drafts.append((Kind.DISTILLATION, name, "distillation", (qubit,), (), (), None, self.span))

    def syndrome(self, qubits: tuple[int, ...], bits: Sequence[int]) -> None:
        """Emits a syndrome extraction."""
        name = "syndrome_extraction"
        writes = tuple(self._write(bit) for bit in bits)
        self.drafts.append((Kind.SYNDROME, name, name, qubits, (), writes, None, self.span))

    def finish(
        self,
        qubit_registers: Sequence[Register],
        bit_registers: Sequence[Register],
        symbols: Sequence[str],
        language: str,
        warnings: Sequence[Diagnostic],
    ) -> Circuit:
        """The circuit."""
        terminal = self._terminal()
        operations = tuple(
            Operation(
                i,
                kind,
                name,
                service,
                qubits,
                params,
                writes,
                condition,
                i in terminal,
                span,
            )
            for i, (kind, name, service, qubits, params, writes, condition, span) in enumerate(self.drafts)
        )
        return Circuit(
            num_qubits=self.num_qubits,
            num_bits=len(self.current),
            num_versions=self.num_versions,
            qubit_registers=tuple(qubit_registers),
            bit_registers=tuple(bit_registers),
            operations=operations,
            final_versions=tuple(self.current),
            symbols=tuple(sorted(symbols)),
            global_phase=self.phase,
            language=language,
            warnings=tuple(warnings),
        )

    def _terminal(self) -> set[int]:
        """Unconditioned measurements whose version nobody reads and whose qubit nothing touches afterwards.

        A conditional write that keeps the version of an earlier measurement reads it.
        """
        read: set[int] = set()
        seen: set[int] = set()
        for draft in self.drafts:
            condition = draft[6]
            if condition is not None:
                read.update(write.previous for write in draft[5])
                if id(condition) not in seen:
                    seen.add(id(condition))
                    read.update(condition.versions)
        terminal: set[int] = set()
        touched: set[int] = set()
        for index in range(len(self.drafts) - 1, -1, -1):
            kind, _, _, qubits, _, writes, condition, _ = self.drafts[index]
            if kind in _IDLE:
                continue
            if (
                kind is Kind.MEASURE
                and condition is None
                and qubits[0] not in touched
                and writes[0].version not in read
            ):
                terminal.add(index)
            touched.update(qubits)
        return terminal


def _width(token: object) -> int:
    return len(getattr(token, "versions", ())) or 1
