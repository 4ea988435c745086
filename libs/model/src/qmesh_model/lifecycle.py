"""States of jobs and reservations and the legal edges between them.

Pure tables: who may take an edge, and how it is stored, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from qmesh_model.errors import MeshError


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "QUEUED"
    COMPILING = "COMPILING"
    RESERVING = "RESERVING"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class ReservationState(StrEnum):
    """State of a reservation."""

    REQUESTED = "REQUESTED"
    PREPARED = "PREPARED"
    COMMITTED = "COMMITTED"
    EXECUTED = "EXECUTED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"


_ENDS: Final = frozenset({JobState.FAILED, JobState.CANCELED})

JOB_EDGES: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: _ENDS | {JobState.COMPILING},
    JobState.COMPILING: _ENDS | {JobState.RESERVING},
    JobState.RESERVING: _ENDS | {JobState.EXECUTING},
    JobState.EXECUTING: _ENDS | {JobState.COMPLETED},
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}
"""Legal edges of a job; states only move forward."""

FAILED_FROM_QUEUED_CAUSES: Final = frozenset({"DEADLINE_EXCEEDED", "POISON"})
"""The only causes for which a job may go from QUEUED to FAILED."""

RESERVATION_EDGES: Final[Mapping[ReservationState, frozenset[ReservationState]]] = {
    ReservationState.REQUESTED: frozenset({ReservationState.PREPARED, ReservationState.REJECTED}),
    ReservationState.PREPARED: frozenset(
        {
            ReservationState.COMMITTED,
            ReservationState.REJECTED,
            ReservationState.EXPIRED,
            ReservationState.CANCELED,
        }
    ),
    ReservationState.COMMITTED: frozenset(
        {ReservationState.EXECUTED, ReservationState.EXPIRED, ReservationState.CANCELED}
    ),
    ReservationState.EXECUTED: frozenset(),
    ReservationState.EXPIRED: frozenset(),
    ReservationState.CANCELED: frozenset(),
    ReservationState.REJECTED: frozenset(),
}
"""Legal edges of a reservation."""

TERMINAL_JOB_STATES: Final = frozenset(state for state, targets in JOB_EDGES.items() if not targets)
"""States that a job never leaves."""

TERMINAL_RESERVATION_STATES: Final = frozenset(
    state for state, targets in RESERVATION_EDGES.items() if not targets
)
"""States that a reservation never leaves."""


class IllegalTransition(MeshError):  # noqa: N818 - the name of the fact, as the design pages use it
    """An edge that the table does not have; code ILLEGAL_TRANSITION."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(
            "ILLEGAL_TRANSITION",
            f"no edge from {source} to {target}",
            details={"from": str(source), "to": str(target)},
        )


def check_job(source: JobState, target: JobState, *, cause: str | None = None) -> None:
    """Checks one edge of a job.

    Args:
        source: state now.
        target: state wanted.
        cause: error code of a failure; QUEUED to FAILED is legal for two causes only.

    Raises:
        IllegalTransition: when the edge does not exist.
    """
    if target not in JOB_EDGES[source]:
        raise IllegalTransition(source, target)
    if (
        source is JobState.QUEUED
        and target is JobState.FAILED
        and cause is not None
        and cause not in FAILED_FROM_QUEUED_CAUSES
    ):
        raise IllegalTransition(source, target)


def check_reservation(source: ReservationState, target: ReservationState) -> None:
    """Checks one edge of a reservation.

    Raises:
        IllegalTransition: when the edge does not exist.
    """
    if target not in RESERVATION_EDGES[source]:
        raise IllegalTransition(source, target)


class Transitions:
    """A table of edges by name."""

    __slots__ = ("_edges",)

    def __init__(self, edges: Mapping[str, frozenset[str]]) -> None:
        self._edges = edges

    def check(self, source: str, target: str) -> None:
        """Checks one edge by the names of its states.

        Raises:
            IllegalTransition: when the edge or a state does not exist.
        """
        if target not in self._edges.get(source, frozenset()):
            raise IllegalTransition(source, target)


JOB_TRANSITIONS: Final = Transitions({str(s): frozenset(map(str, t)) for s, t in JOB_EDGES.items()})
RESERVATION_TRANSITIONS: Final = Transitions(
    {str(s): frozenset(map(str, t)) for s, t in RESERVATION_EDGES.items()}
)
