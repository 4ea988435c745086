"""Budgets of the expansion, beside the bounds of a text in `limits`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from qmesh_model.limits import Limits


@dataclass(frozen=True, slots=True)
class Budgets(Limits):
    """Bounds of a text, and of what it expands to.

    Attributes:
        condition_tokens: steps of one condition in postfix order (also the bound of the wire format).
        operands: qubit operands of all operations together.
        condition_reads: bits read by the conditions of all operations together.
        expression_work: steps evaluated in all symbolic expressions together.
        gate_operations: operations of all flattened gate definitions together.
        controls: control qubits of one gate.
        iterations: passes of all loops together.
        loop_bytes: text read again by all loops together.
        cpu_seconds: processor time of one reading.
        annotations: whether annotations and pragmas are refused, or ignored with a warning.
        diagnostics: errors reported in one pass.
    """

    condition_tokens: int = 256
    operands: int = 1_000_000
    condition_reads: int = 1_000_000
    expression_work: int = 1_000_000
    gate_operations: int = 50_000
    controls: int = 64
    iterations: int = 50_000
    loop_bytes: int = 16 << 20
    cpu_seconds: float = 1.0
    annotations: Literal["refuse", "warn"] = "refuse"
    diagnostics: int = 20

    @classmethod
    def of(cls, limits: Limits) -> Budgets:
        """Budgets with the given bounds of a text."""
        return limits if isinstance(limits, Budgets) else cls(**asdict(limits))
