"""What follows from a failed attempt: again here, elsewhere, recover the input, or give up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from qmesh.fabric.v1 import gate_pb2 as gate


class Next(Enum):
    """The runtime's next step for a block."""

    RETRY = "retry"
    FALLBACK = "fallback"
    RECOVER = "recover"
    STALE = "stale"
    FAIL = "fail"


PEER_GONE = "PEER_GONE"
TIMEOUT = "TIMEOUT"

_BY_OUTCOME: dict[gate.Outcome.ValueType, Next] = {
    gate.OUTCOME_REJECTED: Next.FALLBACK,
    gate.OUTCOME_RESOURCE_EXHAUSTED: Next.RETRY,
    gate.OUTCOME_INPUT_LOST: Next.RECOVER,
    gate.OUTCOME_FIDELITY_LOW: Next.FALLBACK,
    gate.OUTCOME_STALE_CLAIM: Next.STALE,
    gate.OUTCOME_INVALID: Next.FAIL,
    gate.OUTCOME_INTERNAL: Next.FALLBACK,
    gate.OUTCOME_DEADLINE: Next.FAIL,
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and pauses; source: the promise list (section 1, retry policy)."""

    initial_seconds: float = 0.2
    coefficient: float = 2.0
    maximum_seconds: float = 5.0
    attempts_per_node: int = 3
    attempts: int = 6
    replans: int = 4

    def pause(self, attempt: int) -> float:
        """Seconds before the next attempt, with full jitter."""
        ceiling = min(self.maximum_seconds, self.initial_seconds * self.coefficient ** (attempt - 1))
        return random.uniform(0, ceiling)  # noqa: S311 - jitter, not a secret

    def after(self, outcome: gate.Outcome.ValueType, attempts_here: int) -> Next:
        """The step after an outcome of the node itself."""
        step = _BY_OUTCOME.get(outcome, Next.FALLBACK)
        if step is Next.RETRY and attempts_here >= self.attempts_per_node:
            return Next.FALLBACK
        return step

    def after_transport(self, code: str, attempts_here: int) -> Next:
        """The step after a call that was not answered: a peer that is gone is not asked again."""
        if code == PEER_GONE:
            return Next.FALLBACK
        return Next.RETRY if attempts_here < self.attempts_per_node else Next.FALLBACK
