"""Circuits as messages of the wire contract, and back."""

from __future__ import annotations

from qmesh.circuit.v1 import circuit_pb2 as pb
from qmesh_model.circuit import (
    BitVersion,
    Circuit,
    Comparison,
    Condition,
    ConditionStep,
    Kind,
    Logical,
    Operation,
    Register,
    RegisterComparison,
    Span,
    Write,
)
from qmesh_model.errors import MeshError
from qmesh_model.parameters import Expression, Parameter, Symbol, Token


def to_proto(circuit: Circuit) -> pb.Circuit:
    """The message of a circuit."""
    return pb.Circuit(
        num_qubits=circuit.num_qubits,
        num_bits=circuit.num_bits,
        num_versions=circuit.num_versions,
        qubit_registers=[
            pb.Register(name=r.name, size=r.size, offset=r.offset) for r in circuit.qubit_registers
        ],
        bit_registers=[pb.Register(name=r.name, size=r.size, offset=r.offset) for r in circuit.bit_registers],
        operations=[_operation(op) for op in circuit.operations],
        final_versions=circuit.final_versions,
        symbols=circuit.symbols,
        global_phase=_parameter(circuit.global_phase),
        digest=circuit.digest,
        language=circuit.language,
    )


def _parameter(value: Parameter) -> pb.Parameter:
    if not isinstance(value, Expression):
        return pb.Parameter(value=value)
    tokens = []
    for step in value.tokens:
        if isinstance(step, Symbol):
            tokens.append(pb.ExpressionToken(symbol=step.name))
        elif isinstance(step, str):
            tokens.append(pb.ExpressionToken(operator=step))
        else:
            tokens.append(pb.ExpressionToken(number=step))
    return pb.Parameter(expression=pb.Expression(tokens=tokens))


def _condition(value: Condition) -> pb.Condition:
    tokens = []
    for step in value.steps:
        if isinstance(step, BitVersion):
            tokens.append(pb.ConditionToken(version=step.version))
        elif isinstance(step, RegisterComparison):
            comparison = pb.RegisterComparison(
                versions=step.versions, comparison=pb.Comparison.ValueType(step.comparison), value=step.value
            )
            tokens.append(pb.ConditionToken(comparison=comparison))
        else:
            tokens.append(pb.ConditionToken(operator=pb.LogicalOperator.ValueType(step)))
    return pb.Condition(tokens=tokens)


def _operation(op: Operation) -> pb.Operation:
    return pb.Operation(
        index=op.index,
        kind=pb.OperationKind.ValueType(op.kind),
        name=op.name,
        service_type=op.service_type,
        qubits=op.qubits,
        parameters=[_parameter(p) for p in op.parameters],
        writes=[pb.ClassicalWrite(bit=w.bit, version=w.version, previous=w.previous) for w in op.writes],
        condition=_condition(op.condition) if op.condition is not None else None,
        terminal=op.terminal,
        span=pb.Span(line=op.span.line, column=op.span.column, end_column=op.span.end_column),
    )


def from_proto(message: pb.Circuit) -> Circuit:
    """The circuit of a message.

    Raises:
        MeshError: INVALID_ARGUMENT, when the message is no circuit.
    """
    try:
        return Circuit(
            num_qubits=message.num_qubits,
            num_bits=message.num_bits,
            num_versions=message.num_versions,
            qubit_registers=tuple(Register(r.name, r.size, r.offset) for r in message.qubit_registers),
            bit_registers=tuple(Register(r.name, r.size, r.offset) for r in message.bit_registers),
            operations=tuple(_from_operation(op) for op in message.operations),
            final_versions=tuple(message.final_versions),
            symbols=tuple(message.symbols),
            global_phase=_from_parameter(message.global_phase),
            language=message.language,
        )
    except ValueError as error:  # also ParameterError
        raise MeshError("INVALID_ARGUMENT", f"the circuit message makes no sense: {error}") from None


def _from_parameter(message: pb.Parameter) -> Parameter:
    if message.WhichOneof("kind") != "expression":
        return message.value
    steps: list[Token] = []
    for token in message.expression.tokens:
        kind = token.WhichOneof("token")
        if kind == "symbol":
            steps.append(Symbol(token.symbol))
        else:
            steps.append(token.operator if kind == "operator" else token.number)
    return Expression.of_tokens(tuple(steps))


def _from_condition(message: pb.Condition) -> Condition:
    steps: list[ConditionStep] = []
    for token in message.tokens:
        kind = token.WhichOneof("token")
        if kind == "version":
            steps.append(BitVersion(token.version))
        elif kind == "comparison":
            c = token.comparison
            steps.append(RegisterComparison(tuple(c.versions), Comparison(c.comparison), c.value))
        else:
            steps.append(Logical(token.operator))
    return Condition(tuple(steps))


def _from_operation(op: pb.Operation) -> Operation:
    return Operation(
        index=op.index,
        kind=Kind(op.kind),
        name=op.name,
        service_type=op.service_type,
        qubits=tuple(op.qubits),
        parameters=tuple(_from_parameter(p) for p in op.parameters),
        writes=tuple(Write(w.bit, w.version, w.previous) for w in op.writes),
        condition=_from_condition(op.condition) if op.HasField("condition") else None,
        terminal=op.terminal,
        span=Span(op.span.line, op.span.column, op.span.end_column),
    )
