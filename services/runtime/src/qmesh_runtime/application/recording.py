"""Records what happens to one job: events, signed answers, observations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_kit.errors import is_foreseen
from qmesh_runtime.application.execution import BlockOutcome
from qmesh_runtime.domain.claim import Change, Claim, RecordRow
from qmesh_runtime.domain.history import JobHistory
from qmesh_runtime.domain.requests import RunState
from qmesh_runtime.domain.result import iso
from qmesh_runtime.domain.truth import BlockTruth
from qmesh_runtime.ports import Compiled, JobStore, Observations, StaleClaimError

log = structlog.get_logger()

# Failures that say something about the node; the others are the job's or the mesh's own.
_NODE_FAILURES = frozenset({"PEER_GONE", "TIMEOUT", "INTERNAL", "FIDELITY_LOW"})


class JobRecorder:
    """Writes in order, without waiting; after the first refusal nothing more is written."""

    def __init__(
        self, store: JobStore, history: JobHistory, observations: Observations, claim: Claim
    ) -> None:
        """Takes the job's history."""
        self._store = store
        self._history = history
        self._observations = observations
        self._claim = claim
        self._pending: set[asyncio.Future[None]] = set()
        self._refused: StaleClaimError | None = None
        self._compiled: Compiled | None = None
        self._columns: dict[tuple[int, int, int], dict[int, bytes]] = {}
        self._committed: set[tuple[int, int, str]] = set()
        self.truths: list[BlockTruth] = []
        self.failures: list[dict[str, object]] = []

    def write(self, change: Change) -> None:
        """Makes a change durable without waiting for it.

        Raises:
            StaleClaimError: an earlier write was refused or lost.
        """
        if self._refused is not None:
            raise self._refused
        future = self._store.enqueue(change)
        self._pending.add(future)
        future.add_done_callback(self._settled)

    def _settled(self, future: asyncio.Future[None]) -> None:
        self._pending.discard(future)
        if future.cancelled() or (error := future.exception()) is None or self._refused is not None:
            return
        self._refused = error if isinstance(error, StaleClaimError) else self._lost(error)

    def _lost(self, error: BaseException) -> StaleClaimError:
        return StaleClaimError(f"a write of job {self._claim.job_id} was lost: {error!r}")

    async def commit(self, change: Change) -> None:
        """Makes a change durable, after everything written before it.

        Raises:
            StaleClaimError: this or an earlier write was refused or lost.
        """
        while self._pending:
            await asyncio.wait(self._pending)
        if self._refused is not None:
            raise self._refused
        try:
            await self._store.write(change)
        except Exception as error:
            if isinstance(error, StaleClaimError) or not is_foreseen(error):
                raise
            raise self._lost(error) from None

    def planned(self, compiled: Compiled) -> None:
        """Notes the plan that the following blocks belong to."""
        self._compiled = compiled
        self.truths = []

    def begin(self, plan: planning.Plan, passes: int) -> None:
        """Sets progress to the beginning of a plan."""
        self._committed = set()
        self._history.progress.total = len(plan.fragments) * passes
        self._history.progress.completed = 0
        self._history.progress.active = 0

    def recorded(self) -> dict[tuple[int, int, int], dict[int, bytes]]:
        """Columns that earlier plans of the job recorded, by parameter set and shots."""
        return {key: dict(columns) for key, columns in self._columns.items()}

    def started(self, block: planning.Block, node_id: str) -> None:
        """A block is about to be sent."""
        self._history.progress.active += len(block.fragments)
        self.write(
            self._history.event(
                events.JOB_EVENT_TYPE_BLOCK_STARTED, fragment=self._first(block), node_id=node_id
            )
        )

    def failed(self, block: planning.Block, node_id: str, code: str, message: str) -> None:
        """An attempt failed."""
        progress = self._history.progress
        progress.active -= min(progress.active, len(block.fragments))
        error = events.JobError(code=code, message=message)
        change = self._history.event(
            events.JOB_EVENT_TYPE_ATTEMPT_FAILED, fragment=self._first(block), node_id=node_id, error=error
        )
        self.failures.append(
            {"block_id": block.block_id, "node_id": node_id, "code": code, "message": message}
            | {"at": iso(change.events[-1].at.ToNanoseconds() / 1e9)}
        )
        self.write(change)
        if code in _NODE_FAILURES:
            for service_type in self._service_types(block):
                self._observations.observe(
                    registry.Observation(node_id=node_id, service_type=service_type, success=False)
                )

    def completed(self, run: RunState, outcome: BlockOutcome) -> None:
        """A block's signed answer came: its fragments are committed, once."""
        record, block = outcome.record, outcome.block
        truth = BlockTruth(
            record=record,
            signature=outcome.response.signature,
            parameter_set=run.key.parameter_set,
            slice=run.key.slice,
            stage=block.stage,
            recovered=outcome.recovered,
            attempts=[{"node": a.node_id, "outcome": a.outcome, "at": iso(a.at)} for a in outcome.attempts],
        )
        self.truths.append(truth)
        key = (run.key.parameter_set, run.key.first_shot, run.key.shots)
        self._columns.setdefault(key, {}).update(run.columns)
        progress = self._history.progress
        progress.active -= min(progress.active, len(block.fragments))
        kind = (
            events.JOB_EVENT_TYPE_FRAGMENT_RECOVERED
            if outcome.recovered
            else events.JOB_EVENT_TYPE_BLOCK_COMPLETED
        )
        fragments = self._new_fragments(run, record)
        progress.completed += len(fragments)
        change = self._history.event(
            kind,
            fragment=self._first(block),
            node_id=record.node_id,
            detail={
                "block_id": block.block_id,
                "fragments": [fragment.fragment_id for fragment in record.fragments],
                "attempts": len(outcome.attempts),
                "seconds": round(outcome.seconds, 6),
            },
        )
        change.advanced = True
        change.records.append(self._row(run, outcome, fragments))
        self.write(change)
        self._observe(record, outcome.seconds)

    def _new_fragments(self, run: RunState, record: gate.ExecutionRecord) -> tuple[str, ...]:
        keys = [(run.key.parameter_set, run.key.slice, f.fragment_id) for f in record.fragments]
        new = tuple(key[2] for key in keys if key not in self._committed)
        self._committed.update(keys)
        return new

    def _row(self, run: RunState, outcome: BlockOutcome, fragments: tuple[str, ...]) -> RecordRow:
        record = outcome.record
        return RecordRow(
            execution_id=record.execution_id,
            plan_id=record.plan_id,
            block_id=record.block_id,
            parameter_set=run.key.parameter_set,
            slice=run.key.slice,
            node_id=record.node_id,
            fragment_ids=fragments,
            record=outcome.response.record,
            signature=outcome.response.signature,
        )

    async def earlier(self, plan: planning.Plan) -> list[RecordRow]:
        """What earlier owners of the job recorded of a plan."""
        rows = await self._store.records(self._claim.job_id)
        return [row for row in rows if row.plan_id == plan.plan_id]

    def resume(self, plan: planning.Plan, runs: Iterable[RunState], rows: Iterable[RecordRow]) -> None:
        """Takes in what earlier owners of the job recorded; nothing of it is executed again."""
        by_key = {(run.key.parameter_set, run.key.slice): run for run in runs}
        for row in rows:
            run = by_key.get((row.parameter_set, row.slice))
            if run is None:  # a slice that was halved
                continue
            record = gate.ExecutionRecord.FromString(row.record)
            block = plan.blocks[row.block_id]
            seen = block.block_id in run.done
            run.absorb(block, record)
            run.groups[block.block_id] = run.groups.get(block.block_id, 0) + 1 if seen else 0
            self._history.progress.completed += len(self._new_fragments(run, record))
            attempts: list[dict[str, object]] = [
                {"node": record.node_id, "outcome": "DONE", "at": iso(record.finished_at)}
            ]
            self.truths.append(
                BlockTruth(record, row.signature, row.parameter_set, row.slice, block.stage, seen, attempts)
            )
            key = (run.key.parameter_set, run.key.first_shot, run.key.shots)
            self._columns.setdefault(key, {}).update(run.columns)

    def halved(self, run: RunState) -> None:
        """A pass is begun again as two: what was recorded of it counts no more, and there is one pass more."""
        key, progress = run.key, self._history.progress
        gone = {item for item in self._committed if item[:2] == (key.parameter_set, key.slice)}
        self._committed -= gone
        progress.completed -= len(gone)
        if self._compiled is not None:
            progress.total += len(self._compiled.plan.fragments)
        self.truths = [
            truth
            for truth in self.truths
            if (truth.parameter_set, truth.slice) != (key.parameter_set, key.slice)
        ]

    def release_request(self, ids: Sequence[state.ComponentId] = ()) -> gate.ReleaseRequest:
        """Lets a node forget versions, or everything of the job when none is named."""
        return gate.ReleaseRequest(job_id=self._claim.job_id, fence=self._claim.fence, ids=ids)

    def node_names(self) -> dict[str, str]:
        """Names for people by peer id."""
        nodes = self._compiled.nodes if self._compiled is not None else {}
        return {node_id: node.name for node_id, node in nodes.items()}

    def _first(self, block: planning.Block) -> str:
        plan = self._compiled.plan if self._compiled is not None else planning.Plan()
        return plan.fragments[block.fragments[0]].fragment_id if block.fragments else ""

    def _service_types(self, block: planning.Block) -> set[str]:
        plan = self._compiled.plan if self._compiled is not None else planning.Plan()
        return {plan.fragments[number].service_type for number in block.fragments}

    def _observe(self, record: gate.ExecutionRecord, seconds: float) -> None:
        plan = self._compiled.plan if self._compiled is not None else planning.Plan()
        types = {fragment.fragment_id: fragment.service_type for fragment in plan.fragments}
        for result in record.fragments:
            self._observations.observe(
                registry.Observation(
                    node_id=record.node_id,
                    service_type=types.get(result.fragment_id, ""),
                    success=True,
                    fidelity=result.observed_fidelity,
                    sampled=result.fidelity_source == "sampled",
                    latency_seconds=seconds,
                )
            )
