"""The passes of one parameter set over a plan: slices of shots one after another, halved where memory is short."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_runtime.application.execution import PassContext, PlanPass, ReplanNeededError, SliceTooLargeError
from qmesh_runtime.application.recording import JobRecorder
from qmesh_runtime.domain.requests import BlockRequests, RunState

log = structlog.get_logger()

Columns = Mapping[tuple[int, int, int], Mapping[int, bytes]]
"""Columns by parameter set, first shot and number of shots."""


class Passes:
    """Passes that share the requests of their blocks."""

    def __init__(
        self,
        context: PassContext,
        recorder: JobRecorder,
        requests: BlockRequests,
        recorded: Columns,
        measure: Callable[[RunState], Awaitable[None]],
    ) -> None:
        """Takes what all passes of the plan share.

        Args:
            context: of the plan.
            recorder: of the job.
            requests: of the parameter set.
            recorded: columns that earlier plans of the job recorded.
            measure: compares what a pass left at its holders before that is released.
        """
        self._context = context
        self._recorder = recorder
        self._requests = requests
        self._recorded = recorded
        self._measure = measure

    async def run(self, runs: Sequence[RunState]) -> list[RunState]:
        """Executes passes in order of their shots.

        Returns:
            Those that were executed: more than were asked for where slices were halved. Versions of several passes are
            released, nobody needs them any more.

        Raises:
            ReplanNeededError, StaleClaimError, MeshError: as `PlanPass.run`.
        """
        waiting, done = deque(runs), list[RunState]()
        while waiting:
            run = waiting.popleft()
            key = run.key
            known = self._recorded.get((key.parameter_set, key.first_shot, key.shots), {})
            try:
                await PlanPass(self._context, self._requests, run, known).run()
            except SliceTooLargeError as refusal:
                await self.forget([run])
                halves = key.halves(max(1, self._context.compiled.plan.slices))
                if not halves:
                    raise
                log.info("a slice is halved", shots=key.shots, cause=refusal.cause)
                self._recorder.halved(run)
                waiting.extendleft(RunState(half) for half in reversed(halves))
                continue
            except ReplanNeededError:
                await self.forget([run])
                raise
            done.append(run)
            if waiting or len(done) > 1:
                # the fidelity of the job needs that of every slice
                if not any(isinstance(past.overlap, str) for past in done):
                    await self._measure(run)
                await self.forget([run])
        return done

    async def forget(self, runs: Iterable[RunState]) -> None:
        """Releases the versions of passes at their holders; a holder that is gone has forgotten them."""
        held: dict[str, list[state.ComponentId]] = defaultdict(list)
        for run in runs:
            for ref in run.refs.values():
                held[ref.holder].append(ref.id)
        addresses = self._context.addresses()
        async with asyncio.TaskGroup() as group:
            for holder, ids in held.items():
                request: gate.ReleaseRequest = self._recorder.release_request(ids)
                group.create_task(self._context.nodes.release(holder, addresses.get(holder, []), request))
