"""Immutable versions of components, and the records of executions, by job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_node.domain.errors import StaleClaimError
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.tableau import Part

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
    component: Part

    @property
    def held(self) -> int:
        """Bytes of memory that it takes here; a tableau is packed only when it travels."""
        return self.component.size(len(self.component.wires), self.component.rows)


@dataclass(slots=True)
class _Job:
    """What is known of one job; `releases` counts how often everything was released."""

    fence: int = 0
    keep_until: float = 0.0
    releases: int = 0
    versions: dict[Key, Version] = field(default_factory=dict)
    records: dict[str, gate.ExecuteResponse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """Admission of one execution: good until the job is claimed by a higher fence, released or forgotten."""

    job_id: str
    fence: int
    releases: int


class VersionStore:
    """All versions that a node holds; forgets jobs that are past their time."""

    def __init__(self, memory: Memory) -> None:
        """Takes the memory that versions share with the blocks that run."""
        self._memory = memory
        self._jobs: dict[str, _Job] = {}

    def claim(self, job_id: str, fence: int, keep_until: float) -> Claim:
        """Notes the fence of a request.

        Raises:
            StaleClaimError: a higher fence of the job was seen before.
        """
        self.check_fence(job_id, fence)
        job = self._jobs.setdefault(job_id, _Job())
        job.fence = fence
        job.keep_until = max(job.keep_until, keep_until)
        return Claim(job_id, fence, job.releases)

    def check_fence(self, job_id: str, fence: int) -> None:
        """Refuses a fence below the highest that was seen of a job.

        Raises:
            StaleClaimError: a higher fence of the job was seen before.
        """
        job = self._jobs.get(job_id)
        if job is not None and fence < job.fence:
            raise StaleClaimError(f"fence {fence} is below {job.fence}, the highest seen for this job")

    def get(self, identity: state.ComponentId) -> Version | None:
        """A version, if it is here."""
        job = self._jobs.get(identity.job_id)
        return None if job is None else job.versions.get(key_of(identity))

    def record(self, job_id: str, execution_id: str) -> gate.ExecuteResponse | None:
        """The answer to an execution that happened here, while every version that it made is still here."""
        job = self._jobs.get(job_id)
        if job is None or (response := job.records.get(execution_id)) is None:
            return None
        made = gate.ExecutionRecord.FromString(response.record).produced
        held = [job.versions.get(key_of(ref.id)) for ref in made]
        if any(v is None or v.ref.digest != ref.digest for v, ref in zip(held, made, strict=True)):
            return None
        return response

    def commit(
        self, claim: Claim, execution_id: str, response: gate.ExecuteResponse, versions: Iterable[Version]
    ) -> None:
        """Makes a finished execution visible: all of it or nothing.

        Raises:
            StaleClaimError: meanwhile the job was claimed by a higher fence, released or forgotten.
            ExhaustedError: the versions do not fit.
        """
        job = self._jobs.get(claim.job_id)
        if job is None or job.releases != claim.releases:
            raise StaleClaimError("the job was released while the block ran")
        self.check_fence(claim.job_id, claim.fence)
        new = {key_of(v.ref.id): v for v in versions}
        replaced = sum(job.versions[k].held for k in new if k in job.versions)
        self._memory.change(sum(v.held for v in new.values()) - replaced, "the new versions")
        job.versions.update(new)
        job.records[execution_id] = response

    def consume(self, identities: Iterable[state.ComponentId]) -> list[state.ComponentId]:
        """Forgets versions whose memory a block needs for its own results; returns those that were here."""
        here = [identity for identity in identities if self.get(identity) is not None]
        self._forget(here)
        return here

    def release(self, job_id: str, fence: int, identities: Sequence[state.ComponentId]) -> int:
        """Forgets versions, or everything of the job but its fence when none is named; returns the bytes freed.

        Raises:
            StaleClaimError: a higher fence of the job was seen before.
        """
        self.check_fence(job_id, fence)
        job = self._jobs.get(job_id)
        if job is None:
            return 0
        job.fence = fence
        if identities:
            return self._forget([identity for identity in identities if identity.job_id == job_id])
        job.releases += 1
        job.records.clear()
        return self._forget([version.ref.id for version in job.versions.values()])

    def expire(self, now: float) -> int:
        """Forgets jobs past their time; returns how many."""
        late = [job_id for job_id, job in self._jobs.items() if job.keep_until < now]
        for job_id in late:
            self._forget([version.ref.id for version in self._jobs[job_id].versions.values()])
            del self._jobs[job_id]
        return len(late)

    def _forget(self, identities: Iterable[state.ComponentId]) -> int:
        freed = 0
        for identity in identities:
            job = self._jobs.get(identity.job_id)
            version = None if job is None else job.versions.pop(key_of(identity), None)
            freed += 0 if version is None else version.held
        self._memory.change(-freed, "forgotten versions")
        return freed
