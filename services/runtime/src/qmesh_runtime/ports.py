"""What the runtime needs from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_runtime.domain.claim import Change, Claim, RecordRow
from qmesh_runtime.domain.overlap import Factors, HolderOverlaps


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to become durable."""

    job_id: str
    tenant_id: str
    principal: str
    request: bytes
    preview: str
    shots: int
    priority: int
    timeout_seconds: float
    idempotency_key: str | None
    body_digest: bytes
    event: events.JobEvent


class JobStore(Protocol):
    """Durable jobs. Every write under a fence that is not the job's newest is refused."""

    async def submit(self, job: NewJob) -> tuple[runtime.Job, bool]:
        """Makes a job durable with its first event and outbox row; an idempotent repeat gives the first job."""
        ...

    async def get(self, tenant_id: str, job_id: str, detail: int, most: int = ...) -> runtime.Job:
        """One job of a tenant; of a result above `most` bytes it has the size only."""
        ...

    async def page(
        self, tenant_id: str, statuses: Sequence[int], limit: int, before: tuple[datetime, str] | None
    ) -> list[runtime.Job]:
        """Jobs of a tenant, newest first."""
        ...

    async def request_cancel(self, tenant_id: str, job_id: str) -> runtime.Job:
        """Notes the wish to cancel."""
        ...

    async def history(self, tenant_id: str, job_id: str, after: int) -> tuple[list[events.JobEvent], bool]:
        """Events above a sequence, and whether the job has ended."""
        ...

    async def shots(self, tenant_id: str, job_id: str, parameter_set: int) -> tuple[dict[int, bytes], int]:
        """Packed final columns by bit, and the number of shots."""
        ...

    async def claim(self, job_ids: Sequence[str], limit: int) -> list[Claim]:
        """Takes the lease of jobs that nobody holds; without ids, of any such jobs."""
        ...

    async def heartbeat(self, claims: Sequence[Claim]) -> set[str]:
        """Extends leases; returns the jobs still held."""
        ...

    async def let_go(self, claims: Sequence[Claim]) -> None:
        """Gives leases back at once."""
        ...

    async def records(self, job_id: str) -> list[RecordRow]:
        """All recorded answers of a job, oldest first."""
        ...

    def enqueue(self, change: Change) -> asyncio.Future[None]:
        """Makes a change durable soon, in the order of the calls; the future ends with the commit."""
        ...

    async def write(self, change: Change) -> None:
        """Makes a change durable.

        Raises:
            StaleClaimError: the fence is not the job's newest any more, or the change does not follow the newest event.
        """
        ...


class StaleClaimError(Exception):
    """This runtime does not own the job any more, or lost a write of it: whoever claims it next goes on from what is durable."""


class PeerGoneError(Exception):
    """The node cannot be reached, or went away during the call."""


class CallTimeoutError(Exception):
    """The node did not answer in time."""


class Nodes(Protocol):
    """The quantum service nodes over libp2p."""

    async def execute(
        self, node_id: str, addresses: Sequence[str], request: gate.ExecuteRequest, timeout_seconds: float
    ) -> tuple[gate.ExecuteResponse, gate.ExecutionRecord]:
        """Executes a block; the record's signature has been checked.

        Raises:
            PeerGoneError, CallTimeoutError: no answer.
        """
        ...

    async def release(self, node_id: str, addresses: Sequence[str], request: gate.ReleaseRequest) -> None:
        """Lets a node forget versions; a node that is gone has forgotten them."""
        ...

    async def fetch(
        self, ref: state.ComponentRef, addresses: Sequence[str], fence: int, timeout_seconds: float
    ) -> tuple[bytes, int]:
        """Bytes of a final version, and how many of them are rows.

        Raises:
            PeerGoneError, CallTimeoutError: no answer.
        """
        ...

    async def compare(
        self,
        ref: state.ComponentRef,
        addresses: Sequence[str],
        factors: bytes,
        terms: int,
        fence: int,
        timeout_seconds: float,
    ) -> HolderOverlaps:
        """Overlaps of a final version with factors[terms, 2^n] of an ideal state, computed by its holder.

        Raises:
            PeerGoneError, CallTimeoutError: no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan with what is needed to reach its nodes."""

    plan: planning.Plan
    nodes: Mapping[str, registry.Node]


class Planner(Protocol):
    """The planner service."""

    async def compile(self, request: planner.CompileRequest) -> Compiled:
        """Makes and stores a plan."""
        ...

    async def get(self, tenant_id: str, plan_id: str) -> Compiled:
        """A stored plan, with the nodes of its snapshot."""
        ...


class Reservations(Protocol):
    """The reservation service."""

    async def reserve(self, request: reservation.ReserveRequest) -> Sequence[reservation.Reservation]:
        """Reserves all lines or none."""
        ...

    async def mark_executed(self, tenant_id: str, job_id: str, fence: int) -> None:
        """Marks all live reservations of a job as used."""
        ...

    async def cancel(self, tenant_id: str, job_id: str, reason: str) -> None:
        """Gives all live reservations of a job back."""
        ...

    async def extend(
        self, tenant_id: str, job_id: str, fence: int, ttl_ms: int
    ) -> Sequence[reservation.Reservation]:
        """Live reservations of a job, extended and signed for a new claim."""
        ...


class Analyzer(Protocol):
    """The analyzer service."""

    async def analyze(self, parts: AsyncIterator[analysis.AnalyzeRequest]) -> analysis.AnalyzeResponse:
        """Analyses one parameter set of one job."""
        ...

    async def factor(self, request: analysis.FactorRequest) -> Factors:
        """The ideal state before terminal measurements as factors over components.

        Raises:
            ServiceError: there is no single ideal state, it is too wide, or the analyzer does not answer.
        """
        ...


class Observations(Protocol):
    """Where observed quality of nodes goes."""

    def observe(self, observation: registry.Observation) -> None:
        """Notes one observation; sent on in batches."""
        ...
