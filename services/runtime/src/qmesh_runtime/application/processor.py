"""Takes one claimed job from where its history stands to its end."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import structlog

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.events.v1 import events_pb2 as events
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_kit.errors import ServiceError
from qmesh_model import wire
from qmesh_model.errors import MeshError
from qmesh_runtime.application.execution import Directory, PassContext, ReplanNeededError
from qmesh_runtime.application.finish import Finisher
from qmesh_runtime.application.insight import Insight
from qmesh_runtime.application.passes import Passes
from qmesh_runtime.application.patience import patiently
from qmesh_runtime.application.recording import JobRecorder
from qmesh_runtime.application.reserving import JobReservations
from qmesh_runtime.domain.claim import Change, Claim, RecordRow
from qmesh_runtime.domain.history import JobHistory
from qmesh_runtime.domain.policy import RetryPolicy
from qmesh_runtime.domain.profile import memories_of
from qmesh_runtime.domain.requests import BlockRequests, JobFrame, RunKey, RunState
from qmesh_runtime.domain.slices import slices_of
from qmesh_runtime.ports import (
    Compiled,
    JobStore,
    Nodes,
    Observations,
    Planner,
    Reservations,
    StaleClaimError,
)

log = structlog.get_logger()

_ENDED = frozenset({events.JOB_STATUS_COMPLETED, events.JOB_STATUS_FAILED, events.JOB_STATUS_CANCELED})
_POISON_CLAIMS = 4
_REJOIN_SECONDS = 8.0
"""How long a job waits for nodes that may be joining again before it fails for want of them."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a job needs from outside."""

    store: JobStore
    planner: Planner
    reservations: Reservations
    nodes: Nodes
    directory: Directory
    insight: Insight
    observations: Observations
    policy: RetryPolicy = field(default_factory=RetryPolicy)


class JobProcessor:
    """One claimed job."""

    def __init__(self, services: Services, claim: Claim) -> None:
        """Takes the claim; nothing is done yet."""
        self._services = services
        self._claim = claim
        self._request = runtime.SubmitRequest.FromString(claim.request)
        self._history = JobHistory(claim)
        self._least_fidelity = self._request.min_fidelity if self._request.noise else 0.0
        self._reservations = JobReservations(services.reservations, claim, self._least_fidelity)
        self._recorder = JobRecorder(services.store, self._history, services.observations, claim)
        self._bound: dict[int, circuit.Circuit] = {}
        self._asked: set[str] = set()

    async def process(self) -> None:
        """Runs the job to COMPLETED, FAILED or CANCELED, unless another runtime takes it.

        Raises:
            StaleClaimError: another runtime owns the job, or a write was lost; nothing more may be written.
        """
        bound = asyncio.timeout(max(0.0, self._claim.deadline - time.time()))
        try:
            if self._claim.claims >= _POISON_CLAIMS:
                raise MeshError("POISON", f"given up after {self._claim.claims} claims without progress")  # noqa: TRY301 - ends the job like every other error
            if self._claim.cancel_requested:
                await self._end(events.JOB_STATUS_CANCELED)
                return
            if self._claim.fence > 1:
                self._recorder.write(self._history.event(events.JOB_EVENT_TYPE_CLAIMED))
            async with bound:
                await self._run()
        except TimeoutError:
            if not bound.expired():
                raise
            await self._fail("DEADLINE_EXCEEDED", f"not done after {self._request.timeout_seconds:g} s")
        except (MeshError, ServiceError) as error:
            await self._fail(error.code, error.message)
        except BaseExceptionGroup as several:
            await self._fail_group(several)
        finally:
            self._services.insight.forget(self._claim.job_id)

    @property
    def ended(self) -> bool:
        """Whether the last state was reached; what follows gives back what the job held."""
        return self._history.status in _ENDED

    async def keep(self) -> None:
        """Keeps the job's reservations alive; called with every heartbeat."""
        await self._reservations.keep()

    async def cancel(self) -> None:
        """Ends the job by the user's wish; the caller has stopped `process` before."""
        self._history.add(change := self._history.change(), events.JOB_EVENT_TYPE_CANCEL_REQUESTED)
        await self._recorder.commit(change)
        await self._end(events.JOB_STATUS_CANCELED)

    async def _run(self) -> None:
        compiled, resumed = await self._plan()
        excluded: set[str] = set()
        for generation in range(compiled.plan.generation, self._services.policy.replans + 1):
            try:
                await self._execute(compiled, resumed=resumed)
                return  # noqa: TRY300 - the loop goes on only after a replan
            except ReplanNeededError as need:
                excluded |= need.excluded
                await self._reservations.give_back("replanned")
                compiled = await self._replan(compiled, generation + 1, excluded, need)
                resumed = False
        raise MeshError("UNAVAILABLE", f"no plan held after {self._services.policy.replans} replans")

    async def _plan(self) -> tuple[Compiled, bool]:
        """The plan to execute, and whether it is one that an earlier owner began."""
        if self._claim.plan_ids:
            plan_id = self._claim.plan_ids[-1]
            compiled = await patiently(
                lambda: self._services.planner.get(self._claim.tenant_id, plan_id),
                "plan",
                self._claim.deadline,
                self._services.policy,
            )
            self._recorder.planned(compiled)
            if await self._reservations.take_over(compiled):
                if self._history.status == events.JOB_STATUS_RESERVING:
                    await self._recorder.commit(self._history.enter(events.JOB_STATUS_EXECUTING))
                return compiled, True
            if self._history.status == events.JOB_STATUS_EXECUTING:
                await self._reservations.take(compiled, self._claim.deadline - time.time())
                return compiled, True
        else:
            if self._history.status == events.JOB_STATUS_QUEUED:
                self._recorder.write(self._history.enter(events.JOB_STATUS_COMPILING))
            compiled = await self._compile(0, "", set())
            change = self._history.enter(events.JOB_STATUS_RESERVING)
            self._planned(change, compiled)
            self._recorder.write(change)
        return await self._reserve(compiled), False

    async def _reserve(self, compiled: Compiled) -> Compiled:
        made = await self._reservations.take(compiled, self._claim.deadline - time.time())
        change = self._history.enter(events.JOB_STATUS_EXECUTING)
        self._history.add(
            change,
            events.JOB_EVENT_TYPE_RESERVED,
            detail={"reservations": {item.line.node_id: item.reservation_id for item in made}},
        )
        self._recorder.write(change)  # an owner that finds RESERVING takes the reservations over all the same
        return compiled

    def _planned(self, change: Change, compiled: Compiled) -> None:
        plan = compiled.plan
        self._recorder.planned(compiled)
        change.plan_id = plan.plan_id
        self._history.add(
            change,
            events.JOB_EVENT_TYPE_PLANNED if not plan.generation else events.JOB_EVENT_TYPE_REPLANNED,
            detail={
                "plan_id": plan.plan_id,
                "parent_plan_id": plan.parent_plan_id or None,
                "snapshot_id": plan.snapshot_id,
                "fragments": len(plan.fragments),
                "blocks": len(plan.blocks),
                "ebits": plan.ebit_summary.total,
            },
        )

    async def _compile(self, generation: int, parent: str, excluded: set[str]) -> Compiled:
        """A new plan; nodes that are missing now may be joining again, so that is asked for a while."""
        until, pause = time.time() + _REJOIN_SECONDS, _REJOIN_SECONDS / 16
        while True:
            wanted = self._wanted(generation, parent, excluded)
            try:
                return await patiently(
                    lambda wanted=wanted: self._services.planner.compile(wanted),  # type: ignore[misc] # bound now
                    "plan",
                    self._claim.deadline,
                    self._services.policy,
                )
            except ServiceError as error:
                if error.code != "NO_CAPABLE_NODE" or time.time() >= until:
                    raise
                log.info("waiting for nodes", job_id=self._claim.job_id, reason=error.message)
            await asyncio.sleep(min(pause, max(0.0, until - time.time())))
            pause *= 2
            excluded = set()  # the snapshot holds only nodes that live; one that failed may be back

    def _wanted(self, generation: int, parent: str, excluded: set[str]) -> planner.CompileRequest:
        request = self._request
        return planner.CompileRequest(
            caller=caller.Caller(tenant_id=self._claim.tenant_id, principal="runtime"),
            circuit=request.circuit,
            strategy=request.strategy,
            shots=request.shots,
            noise=request.noise,
            min_fidelity=self._least_fidelity,
            precision=request.precision,
            excluded_nodes=sorted(excluded),
            parent_plan_id=parent,
            generation=generation,
            job_id=self._claim.job_id,
        )

    async def _replan(
        self, compiled: Compiled, generation: int, excluded: set[str], need: ReplanNeededError
    ) -> Compiled:
        log.info("replan", job_id=self._claim.job_id, generation=generation, cause=need.cause)
        if generation > self._services.policy.replans:
            raise MeshError("UNAVAILABLE", f"given up after {generation - 1} replans: {need.cause}")
        new = await self._compile(generation, compiled.plan.plan_id, excluded)
        change = self._history.change()
        self._planned(change, new)
        await self._recorder.commit(change)
        await self._reservations.take(new, self._claim.deadline - time.time())
        return new

    async def _execute(self, compiled: Compiled, *, resumed: bool) -> None:
        request, plan = self._request, compiled.plan
        recorded = self._recorder.recorded()
        rows = await self._recorder.earlier(plan) if resumed else []
        runs = self._runs(plan, rows)
        self._recorder.begin(plan, sum(map(len, runs)))
        self._recorder.resume(plan, chain(*runs), rows)
        if resumed:  # whom an earlier owner asked is not known
            self._asked |= {candidate.node_id for block in plan.blocks for candidate in block.candidates}
        context = PassContext(
            fence=self._claim.fence,
            deadline=self._claim.deadline,
            noise=request.noise,
            compiled=compiled,
            nodes=self._services.nodes,
            tokens=self._reservations,
            directory=self._services.directory,
            recorder=self._recorder,
            policy=self._services.policy,
            asked=self._asked,
        )
        memories = memories_of(compiled.nodes) if request.noise else None
        finisher = Finisher(self._services.insight, self._recorder, self._history, self._claim)
        for number, asked in enumerate(runs):
            form = self._form(number)
            requests = BlockRequests(self._frame(plan.slices), plan, form, memories)
            measure = partial(self._measure, context, form)
            passes = Passes(context, self._recorder, requests, recorded, measure)
            done = await passes.run(asked)
            await finisher.analyze(context, request, number, form, done)
            if len(runs) > 1:
                await passes.forget(done)
        await finisher.complete(context, request, self._reservations.ids)
        await self._tidy(context)

    async def _measure(self, context: PassContext, form: circuit.Circuit, run: RunState) -> None:
        await self._services.insight.measure(
            self._claim, form, context.compiled.plan, run, context.addresses()
        )

    def _runs(self, plan: planning.Plan, rows: Sequence[RecordRow]) -> list[list[RunState]]:
        """Passes of each parameter set; `rows`: what earlier owners recorded of the plan."""
        seen: dict[int, set[int]] = defaultdict(set)
        for row in rows:
            seen[row.parameter_set].add(row.slice)
        return [
            [
                RunState(RunKey(number, part.index, part.first, part.shots))
                for part in slices_of(self._request.shots, max(1, plan.slices), seen[number])
            ]
            for number in range(max(1, len(self._request.parameter_sets)))
        ]

    async def _tidy(self, context: PassContext) -> None:
        """Lets nodes forget the job and closes its reservations; failures here cost memory, not truth."""
        release = [
            context.nodes.release(node_id, addresses, self._recorder.release_request())
            for node_id, addresses in context.addresses().items()
            if node_id in self._asked and node_id not in context.gone
        ]
        results = await asyncio.gather(self._reservations.mark_executed(), *release, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                log.warning("tidying up failed", job_id=self._claim.job_id, error=repr(result))

    def _form(self, number: int) -> circuit.Circuit:
        """The circuit with one parameter set bound."""
        if number not in self._bound:
            form = self._request.circuit
            if form.symbols:
                values = (
                    dict(self._request.parameter_sets[number].values) if self._request.parameter_sets else {}
                )
                form = wire.to_proto(wire.from_proto(form).bind(values))
            self._bound[number] = form
        return self._bound[number]

    def _frame(self, slices: int) -> JobFrame:
        return JobFrame(
            job_id=self._claim.job_id,
            tenant_id=self._claim.tenant_id,
            seed=self._request.seed,
            precision=self._request.precision,
            min_fidelity=self._least_fidelity,
            deadline=self._claim.deadline,
            single_pass=slices <= 1,
        )

    async def _fail_group(self, several: BaseExceptionGroup[BaseException]) -> None:
        stale, rest = several.split(StaleClaimError)
        if stale is not None:
            raise StaleClaimError(str(stale))
        log.error("job failed by an unexpected error", job_id=self._claim.job_id, error=repr(rest))
        await self._fail("INTERNAL", "the runtime met an unexpected error; its log has the cause")

    async def _fail(self, code: str, message: str) -> None:
        log.warning("job failed", job_id=self._claim.job_id, code=code, reason=message)
        await self._end(events.JOB_STATUS_FAILED, events.JobError(code=code, message=message))

    async def _end(self, status: int, error: events.JobError | None = None) -> None:
        self._history.progress.active = 0
        change = self._history.enter(status)
        if error is not None:
            change.error = error
            change.events[-1].error.CopyFrom(error)
        await self._recorder.commit(change)
        try:
            await self._reservations.give_back("job ended")
        except ServiceError as refused:
            log.warning("reservations not given back", job_id=self._claim.job_id, code=refused.code)
