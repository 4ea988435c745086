"""Why a block is not executed; each ends in one typed outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state


class BlockError(Exception):
    """A block that did not happen. Nothing of it is visible."""

    outcome: ClassVar[gate.Outcome.ValueType] = gate.OUTCOME_INTERNAL

    def __init__(self, message: str) -> None:
        """Takes a sentence for people."""
        super().__init__(message)
        self.message = message


class InvalidBlockError(BlockError):
    """The request makes no sense."""

    outcome = gate.OUTCOME_INVALID


class RejectedError(BlockError):
    """The request is not admitted."""

    outcome = gate.OUTCOME_REJECTED


class ExhaustedError(BlockError):
    """Memory or concurrency is short."""

    outcome = gate.OUTCOME_RESOURCE_EXHAUSTED


class StaleClaimError(BlockError):
    """A higher fence of the job was seen."""

    outcome = gate.OUTCOME_STALE_CLAIM


class DeadlineError(BlockError):
    """The deadline passed before the work was done."""

    outcome = gate.OUTCOME_DEADLINE


class FidelityLowError(BlockError):
    """The observed fidelity is credibly below what the job asks."""

    outcome = gate.OUTCOME_FIDELITY_LOW


class InputLostError(BlockError):
    """An input version could not be had."""

    outcome = gate.OUTCOME_INPUT_LOST

    def __init__(self, lost: Sequence[state.ComponentId]) -> None:
        """Takes the versions that are missing."""
        super().__init__(f"{len(lost)} input version(s) could not be had from their holders")
        self.lost = list(lost)
