"""Budgets of the expansion, beside the bounds of a text in `limits`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

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
        diagnostics: errors reported in one pass.
    """

    condition_tokens: int = 256
    operands: int = 1_000_000
    condition_reads: int = 1_000_000
    expression_work: int = 1_000_000
    gate_operations: int = 50_000
    diagnostics: int = 20

    @classmethod
    def of(cls, limits: Limits) -> Budgets:
        """Budgets with the given bounds of a text."""
        return limits if isinstance(limits, Budgets) else cls(**asdict(limits))
