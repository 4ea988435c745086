"""Why a block is not executed; each ends in one typed outcome."""

from qmesh.fabric.v1 import gate_pb2 as gate


class BlockError(Exception):
    """A block that did not happen. Nothing of it is visible."""

    outcome: gate.Outcome = gate.OUTCOME_INTERNAL

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
    """The deadline passed before the work began."""

    outcome = gate.OUTCOME_DEADLINE
