"""A claimed job, and what its owner wants to become durable."""

from __future__ import annotations

from dataclasses import dataclass, field

from qmesh.events.v1.events_pb2 import JobError, JobEvent, Progress


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this runtime owns until its lease ends."""

    job_id: str
    tenant_id: str
    fence: int
    status: int
    claims: int
    last_sequence: int
    deadline: float
    cancel_requested: bool
    plan_ids: tuple[str, ...]
    request: bytes


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A block's signed answer, recorded once."""

    execution_id: str
    plan_id: str
    block_id: int
    parameter_set: int
    slice: int
    node_id: str
    fragment_ids: tuple[str, ...]
    record: bytes
    signature: bytes


@dataclass(slots=True)
class Change:
    """One atomic step of a job under a fence; everything in it becomes durable together, or not at all.

    It follows the event of number `after`: where that is not the newest, a step before this one was lost.
    """

    job_id: str
    tenant_id: str
    fence: int
    after: int
    status: int
    events: list[JobEvent] = field(default_factory=list)
    records: list[RecordRow] = field(default_factory=list)
    plan_id: str | None = None
    progress: Progress | None = None
    error: JobError | None = None
    result: bytes | None = None
    summary: bytes | None = None
    columns: dict[int, bytes] = field(default_factory=dict)
    advanced: bool = False

    def begin_with(self, earlier: Change) -> None:
        """Takes in the events of the step before this one."""
        self.after = earlier.after
        self.events[:0] = earlier.events
