"""Service words: quantum capabilities of the mesh that are written like gates (physics page, section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from qmesh_model import gates
from qmesh_model.builder import Builder
from qmesh_model.circuit import Condition, Kind, Span
from qmesh_model.lexer import Token
from qmesh_model.operands import Operand
from qmesh_model.parameters import Parameter

Problem = tuple[str, str, Token | None, str]

WORDS: Mapping[str, str] = {
    "bell_pair": "bell_pair",
    "teleport": "teleport",
    "teleportation": "teleport",
    "cnot": "cx",
    "hadamard": "h",
    "swap": "swap",
    "cz": "cz",
    "controlled_unitary": "cu",
    "programmable_gate": "u",
    "qft": "qft",
    "iqft": "iqft",
    "distillation": "distillation",
    "syndrome_extraction": "syndrome_extraction",
}
"""Word in lower case to what it is."""

SYNDROME_BITS: Mapping[int, int] = {1: 0, 3: 2, 4: 2, 7: 6, 9: 8}
"""Syndrome bits of the code of each size."""


def expand_word(
    word: str,
    builder: Builder,
    token: Token,
    parameters: Sequence[Parameter],
    operands: Sequence[Operand],
    targets: Sequence[Operand],
    condition: Condition | None,
    span: Span,
    budget: Callable[[int], None],
) -> Problem | None:
    """Appends what a service word means; a problem when it is used wrongly."""
    if targets and word != "syndrome_extraction":
        return "MESH110", f"{token.text} writes no classical bits", targets[0].token, "remove '-> ...'"
    if word in {"qft", "iqft"}:
        return _fourier(word, builder, parameters, operands, condition, span, budget)
    if word == "distillation":
        return _distillation(builder, parameters, operands, condition, span, budget)
    if word == "syndrome_extraction":
        return _syndrome(builder, parameters, operands, targets, condition, span, budget)
    return _gate(word, builder, token, tuple(parameters), operands, condition, span, budget)


def _gate(
    word: str,
    builder: Builder,
    token: Token,
    parameters: tuple[Parameter, ...],
    operands: Sequence[Operand],
    condition: Condition | None,
    span: Span,
    budget: Callable[[int], None],
) -> Problem | None:
    gate = gates.GATES[word]
    if len(parameters) != gate.num_params:
        return "QASM305", f"{token.text} takes {gate.num_params} parameters, {len(parameters)} given", None, ""
    if len(operands) != gate.num_qubits:
        return "QASM304", f"{token.text} takes {gate.num_qubits} operands, {len(operands)} given", None, ""
    widths = {len(operand.indices) for operand in operands if not operand.single}
    if len(widths) > 1:
        return "QASM309", "the registers have different sizes", operands[-1].token, ""
    width = widths.pop() if widths else 1
    budget(width)
    for step in range(width):
        qubits = tuple(o.indices[0] if o.single else o.indices[step] for o in operands)
        if len(set(qubits)) < len(qubits):
            return "QASM306", f"{token.text} needs different qubits", operands[-1].token, ""
        if word == "teleport" and condition is None:
            builder.word(Kind.TELEPORT, "teleport", "teleportation", qubits, (), None, span)
        elif word == "swap" and condition is None:
            builder.gate("swap", qubits, (), None, span, Kind.SWAP)
        else:
            name = "swap" if word == "teleport" else word
            service = "teleportation" if word == "teleport" else None
            builder.gate(name, qubits, parameters, condition, span, service_type=service)
    return None


def _flat(operands: Sequence[Operand]) -> tuple[int, ...] | Problem:
    qubits = tuple(q for operand in operands for q in operand.indices)
    if len(set(qubits)) < len(qubits):
        return "QASM306", "the same qubit is named twice", operands[-1].token, ""
    return qubits


def _fourier(
    word: str,
    builder: Builder,
    parameters: Sequence[Parameter],
    operands: Sequence[Operand],
    condition: Condition | None,
    span: Span,
    budget: Callable[[int], None],
) -> Problem | None:
    """QFT with final swaps: |x> -> sum_y exp(2 pi i x y / 2^n) |y> / sqrt(2^n), first operand least significant."""
    if parameters:
        return "QASM305", f"{word} takes no parameters", None, ""
    qubits = _flat(operands)
    if isinstance(qubits[0], str):
        return qubits  # type: ignore[return-value] # a problem begins with its code
    n = len(qubits)
    budget(n * (n + 1) // 2 + n // 2)
    sign = 1.0 if word == "qft" else -1.0
    steps: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    for high in reversed(range(n)):
        steps.append(("h", (high,), ()))
        steps += [("cp", (low, high), (sign * math.pi / 2 ** (high - low),)) for low in reversed(range(high))]
    steps += [("swap", (k, n - 1 - k), ()) for k in range(n // 2)]
    if word == "iqft":
        steps.reverse()
    for name, positions, values in steps:
        wires = tuple(int(qubits[p]) for p in positions)
        kind = Kind.SWAP if name == "swap" and condition is None else Kind.GATE
        builder.gate(name, wires, values, condition, span, kind, service_type="qft")
    return None


def _distillation(
    builder: Builder,
    parameters: Sequence[Parameter],
    operands: Sequence[Operand],
    condition: Condition | None,
    span: Span,
    budget: Callable[[int], None],
) -> Problem | None:
    if parameters:
        return "MESH110", "distillation takes no numbers", None, ""
    if len(operands) > 1:
        message = "distillation of a pair that is entangled in the circuit is not supported"
        hint = "distillation q; purifies the next pair that is delivered for q"
        return "MESH111", message, operands[1].token, hint
    if condition is not None:
        return "MESH110", "distillation cannot be conditioned: pairs are planned beforehand", None, ""
    budget(len(operands[0].indices))
    for qubit in operands[0].indices:
        builder.word(Kind.DISTILLATION, "distillation", "distillation", (qubit,), (), None, span)
    return None


def _syndrome(
    builder: Builder,
    parameters: Sequence[Parameter],
    operands: Sequence[Operand],
    targets: Sequence[Operand],
    condition: Condition | None,
    span: Span,
    budget: Callable[[int], None],
) -> Problem | None:
    if parameters:
        return "MESH110", "syndrome_extraction takes no numbers; the number of qubits names the code", None, ""
    qubits = _flat(operands)
    if isinstance(qubits[0], str):
        return qubits  # type: ignore[return-value] # a problem begins with its code
    size = len(qubits)
    if size not in SYNDROME_BITS:
        message = f"no code has {size} qubits"
        hint = "1 (none), 3 (repetition), 4 ([[4,2,2]]), 7 (Steane) or 9 (rotated surface)"
        return "MESH112", message, operands[0].token, hint
    bits = tuple(bit for target in targets for bit in target.indices)
    if targets and len(bits) != SYNDROME_BITS[size]:
        message = f"a block of {size} qubits has {SYNDROME_BITS[size]} syndrome bits, {len(bits)} given"
        return "MESH110", message, targets[0].token, ""
    budget(1)
    wires = tuple(int(q) for q in qubits)
    builder.word(Kind.SYNDROME, "syndrome_extraction", "syndrome_extraction", wires, bits, condition, span)
    return None
