"""The owner's view of one job: status, progress, sequence; makes the changes that become durable."""

from __future__ import annotations

import time

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from qmesh.events.v1 import events_pb2 as events
from qmesh_model.lifecycle import JOB_TRANSITIONS
from qmesh_runtime.domain.claim import Change, Claim

_NAMES: dict[int, str] = {value: name.removeprefix("JOB_STATUS_") for name, value in events.JobStatus.items()}


def status_name(status: int) -> str:
    """QUEUED, COMPILING, ..."""
    return _NAMES[status]


def now_message() -> Timestamp:
    """The time now."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


class JobHistory:
    """Numbers events and guards the order of statuses."""

    def __init__(self, claim: Claim) -> None:
        """Takes up a history where the claim found it."""
        self._claim = claim
        self._sequence = claim.last_sequence
        self.status = claim.status
        self.progress = events.Progress()

    def change(self) -> Change:
        """An empty change of the job as it is."""
        progress = events.Progress()
        progress.CopyFrom(self.progress)
        return Change(
            job_id=self._claim.job_id,
            tenant_id=self._claim.tenant_id,
            fence=self._claim.fence,
            after=self._sequence,
            status=self.status,
            progress=progress,
        )

    def enter(self, status: int) -> Change:
        """A change that moves the job to another status.

        Raises:
            qmesh_model.lifecycle.IllegalTransition: the edge does not exist.
        """
        JOB_TRANSITIONS.check(status_name(self.status), status_name(status))
        self.status = status
        change = self.change()
        change.advanced = True
        self.add(change, events.JOB_EVENT_TYPE_STATUS)
        return change

    def event(
        self,
        kind: int,
        *,
        fragment: str = "",
        node_id: str = "",
        error: events.JobError | None = None,
        detail: dict[str, object] | None = None,
    ) -> Change:
        """A change with one event."""
        change = self.change()
        self.add(change, kind, fragment=fragment, node_id=node_id, error=error, detail=detail)
        return change

    def add(
        self,
        change: Change,
        kind: int,
        *,
        fragment: str = "",
        node_id: str = "",
        error: events.JobError | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        """Adds the next event to a change."""
        self._sequence += 1
        change.events.append(
            events.JobEvent(
                sequence=self._sequence,
                job_id=self._claim.job_id,
                tenant_id=self._claim.tenant_id,
                type=events.JobEventType.ValueType(kind),
                status=events.JobStatus.ValueType(self.status),
                at=now_message(),
                fragment=fragment,
                node_id=node_id,
                error=error,
                progress=self.progress,
                detail_json=orjson.dumps(detail) if detail else b"",
            )
        )
