"""Immutable versions of components, and the records of executions, by job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, StaleClaimError

Key = tuple[str, int, int, str, int, int]


def key_of(identity: state.ComponentId) -> Key:
    """Dictionary key of a version."""
    return (
        identity.job_id,
        identity.parameter_set,
        identity.slice,
        identity.plan_id,
        identity.component,
        identity.position,
    )


@dataclass(slots=True)
class Version:
    """One immutable version."""

    ref: state.ComponentRef
    ensemble: Ensemble


@dataclass(slots=True)
class _Job:
    fence: int = 0
    keep_until: float = 0.0
    versions: dict[Key, Version] = field(default_factory=dict)
    records: dict[str, gate.ExecuteResponse] = field(default_factory=dict)


class VersionStore:
    """All versions that a node holds, within a byte limit; forgets jobs that are released or past their time."""

    def __init__(self, limit_bytes: int) -> None:
        """Takes the number of bytes of amplitudes that may be stored."""
        self._limit = limit_bytes
        self._used = 0
        self._jobs: dict[str, _Job] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes stored now."""
        return self._used

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be stored."""
        return max(0, self._limit - self._used)

    def claim(self, job_id: str, fence: int, keep_until: float) -> None:
        """Notes the fence of a request.

        Raises:
            StaleClaimError: a higher fence of the job was seen before.
        """
        job = self._jobs.setdefault(job_id, _Job())
        if fence < job.fence:
            raise StaleClaimError(f"fence {fence} is below {job.fence}, the highest seen for this job")
        job.fence = fence
        job.keep_until = max(job.keep_until, keep_until)

    def fence(self, job_id: str) -> int | None:
        """Highest fence seen for a job; None for an unknown job."""
        job = self._jobs.get(job_id)
        return None if job is None else job.fence

    def get(self, identity: state.ComponentId) -> Version | None:
        """A version, if it is here."""
        job = self._jobs.get(identity.job_id)
        return None if job is None else job.versions.get(key_of(identity))

    def record(self, job_id: str, execution_id: str) -> gate.ExecuteResponse | None:
        """The answer to an execution that happened here."""
        job = self._jobs.get(job_id)
        return None if job is None else job.records.get(execution_id)

    def commit(
        self, job_id: str, execution_id: str, response: gate.ExecuteResponse, versions: Iterable[Version]
    ) -> None:
        """Makes a finished execution visible: all of it or nothing.

        Raises:
            ExhaustedError: the versions do not fit.
        """
        job = self._jobs.setdefault(job_id, _Job())
        new = {key_of(v.ref.id): v for v in versions}
        replaced = sum(job.versions[k].ref.bytes for k in new if k in job.versions)
        size = sum(v.ref.bytes for v in new.values()) - replaced
        if self._used + size > self._limit:
            raise ExhaustedError(
                f"{size} bytes of new versions do not fit into the {self.free_bytes} that are free"
            )
        self._used += size
        job.versions.update(new)
        job.records[execution_id] = response

    def forget_record(self, job_id: str, execution_id: str) -> None:
        """Drops a record whose versions are gone, so that the block executes again."""
        job = self._jobs.get(job_id)
        if job is not None:
            job.records.pop(execution_id, None)

    def release(self, job_id: str, fence: int, identities: Iterable[state.ComponentId]) -> int:
        """Forgets versions, or the whole job when none is named; returns the bytes freed.

        Raises:
            StaleClaimError: a higher fence of the job was seen before.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return 0
        if fence < job.fence:
            raise StaleClaimError(f"fence {fence} is below {job.fence}, the highest seen for this job")
        keys = [key_of(identity) for identity in identities]
        if not keys:
            return self._drop(job_id)
        freed = sum(v.ref.bytes for k in keys if (v := job.versions.pop(k, None)) is not None)
        self._used -= freed
        return freed

    def expire(self, now: float) -> int:
        """Forgets jobs past their time; returns how many."""
        late = [job_id for job_id, job in self._jobs.items() if job.keep_until < now]
        for job_id in late:
            self._drop(job_id)
        return len(late)

    def _drop(self, job_id: str) -> int:
        job = self._jobs.pop(job_id)
        freed = sum(v.ref.bytes for v in job.versions.values())
        self._used -= freed
        return freed
