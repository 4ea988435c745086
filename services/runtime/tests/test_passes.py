"""Passes over a plan on nodes that have memory for so many shots only."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_runtime.application.execution import PassContext, ReplanNeededError
from qmesh_runtime.application.passes import Passes
from qmesh_runtime.application.recording import JobRecorder
from qmesh_runtime.domain.claim import Change, Claim
from qmesh_runtime.domain.history import JobHistory
from qmesh_runtime.domain.overlap import Spread
from qmesh_runtime.domain.policy import RetryPolicy
from qmesh_runtime.domain.requests import BlockRequests, JobFrame, RunKey, RunState
from qmesh_runtime.domain.slices import slices_of
from qmesh_runtime.ports import Compiled

NODES = ("near", "far")


class Crowded:
    """Nodes that execute at most so many shots at once, and hold what nobody released."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[tuple[str, int]] = []
        self.held: set[tuple[str, int, int]] = set()

    async def execute(
        self, node_id: str, _: Sequence[str], request: gate.ExecuteRequest, __: float
    ) -> tuple[gate.ExecuteResponse, gate.ExecutionRecord]:
        """One version for each output, or a refusal."""
        self.asked.append((node_id, request.shots.count))
        record = gate.ExecutionRecord(
            execution_id=request.execution_id,
            node_id=node_id,
            block_id=request.block_id,
            plan_id=request.plan_id,
        )
        if request.shots.count > self.most and request.block_id:
            record.outcome = gate.OUTCOME_RESOURCE_EXHAUSTED
            record.error.code = "RESOURCE_EXHAUSTED"
            return gate.ExecuteResponse(), record
        record.outcome = gate.OUTCOME_DONE
        record.fragments.extend(gate.FragmentResult(fragment_id=f.fragment_id) for f in request.fragments)
        for output in request.outputs:
            identity = state.ComponentId(
                slice=request.slice, component=output.component, position=output.position
            )
            record.produced.append(state.ComponentRef(id=identity, holder=node_id, digest=b"d"))
            self.held.add((node_id, request.slice, output.position))
        bits = bytes(-(-request.shots.count // 8))
        record.columns.append(
            gate.BitColumn(version=request.block_id, bits=bits, digest=hashlib.sha256(bits).digest())
        )
        return gate.ExecuteResponse(record=record.SerializeToString()), record

    async def release(self, node_id: str, _: Sequence[str], request: gate.ReleaseRequest) -> None:
        """Forgets versions."""
        self.held -= {(node_id, item.slice, item.position) for item in request.ids}


class _Nowhere:
    """Tokens, directory, store and observations of no consequence."""

    async def token(self, *_: object) -> bytes:
        return b"token"

    def addresses(self, _: str) -> list[str]:
        return []

    def enqueue(self, _: Change) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def observe(self, _: registry.Observation) -> None:
        return


def plan(slices: int) -> planning.Plan:
    """Two blocks, each with a fragment, the second on what the first made."""
    candidates = [planning.Candidate(node_id=node) for node in NODES]
    blocks = [
        planning.Block(
            block_id=number,
            fragments=[number],
            candidates=candidates,
            dependencies=range(number),
            inputs=[planning.ComponentUse(component=0, position=number - 1)] if number else [],
            outputs=[planning.ComponentUse(component=0, position=number)],
        )
        for number in range(2)
    ]
    fragments = [planning.Fragment(fragment_id=f"0.{number}", service_type="hadamard") for number in range(2)]
    return planning.Plan(plan_id="plan", slices=slices, blocks=blocks, fragments=fragments)


class Job:
    """What passes of one job need."""

    def __init__(self, most: int, slices: int = 1) -> None:
        nowhere = cast("Any", _Nowhere())
        self.nodes = Crowded(most)
        compiled = Compiled(plan(slices), {node: registry.Node(node_id=node) for node in NODES})
        claim = Claim("job", "t", 1, events.JOB_STATUS_EXECUTING, 1, 1, time.time() + 60, False, (), b"")
        self.history = JobHistory(claim)
        self.recorder = JobRecorder(nowhere, self.history, nowhere, claim)
        self.recorder.planned(compiled)
        self.recorder.begin(compiled.plan, slices)
        frame = JobFrame("job", "t", 1, state.PRECISION_DOUBLE, 0.0, time.time() + 60, single_pass=True)
        requests = BlockRequests(frame, compiled.plan, circuit.Circuit(), None)
        context = PassContext(
            fence=1,
            deadline=time.time() + 60,
            noise=False,
            compiled=compiled,
            nodes=cast("Any", self.nodes),
            tokens=nowhere,
            directory=nowhere,
            recorder=self.recorder,
            policy=RetryPolicy(initial_seconds=0.001, attempts_per_node=2),
        )
        self.measured: list[tuple[int, int]] = []
        self.lost = -1
        self.passes = Passes(context, self.recorder, requests, {}, self.measure)

    async def measure(self, run: RunState) -> None:
        """Notes the pass and how many of its versions are held; `lost` is one that nobody can compare."""
        held = sum(slice_ == run.key.slice for _, slice_, _ in self.nodes.held)
        self.measured.append((run.key.first_shot, held))
        run.overlap = "lost" if run.key.slice == self.lost else Spread(run.key.shots, 1.0, 0.0)


def runs(shots: int, slices: int = 1) -> list[RunState]:
    """The passes of a plan."""
    return [RunState(RunKey(0, part.index, part.first, part.shots)) for part in slices_of(shots, slices)]


async def test_a_slice_that_no_node_has_memory_for_is_halved() -> None:
    """100 shots on nodes for 30: four passes of 25, in order; what the larger ones had made is released and not told."""
    job = Job(most=30)
    done = await job.passes.run(runs(100))
    assert [(run.key.first_shot, run.key.shots) for run in done] == [(0, 25), (25, 25), (50, 25), (75, 25)]
    assert all(run.done == {0, 1} for run in done)
    assert {truth.slice for truth in job.recorder.truths} == {run.key.slice for run in done}
    assert job.history.progress.completed == job.history.progress.total == 8
    assert job.nodes.held == set()
    assert ("far", 100) in job.nodes.asked  # every candidate was tried before


async def test_versions_of_a_single_pass_stay_for_the_analysis() -> None:
    """One pass that fits is not released, several are one by one."""
    job = Job(most=100)
    await job.passes.run(runs(100))
    assert job.nodes.held == {("near", 0, 0), ("near", 0, 1)}
    job = Job(most=100, slices=2)
    done = await job.passes.run(runs(100, 2))
    assert ([run.key.shots for run in done], job.nodes.held) == ([50, 50], set())


async def test_what_no_halving_helps_is_planned_anew() -> None:
    """Nodes that have no memory for a single shot: the pass ends as one whose candidates are gone."""
    job = Job(most=0)
    with pytest.raises(ReplanNeededError):
        await job.passes.run(runs(3))
    assert job.nodes.held == set()


async def test_slices_are_measured_before_they_are_released() -> None:
    """Each finished slice once, in order, while its two versions are held; what is halved is not, and a single pass is left to the analysis."""
    job = Job(most=30)
    done = await job.passes.run(runs(100))
    assert job.measured == [(0, 2), (25, 2), (50, 2), (75, 2)]
    assert all(isinstance(run.overlap, Spread) for run in done)
    single = Job(most=100)
    await single.passes.run(runs(100))
    assert single.measured == []


async def test_after_a_slice_that_nobody_could_compare_no_other_is() -> None:
    """The fidelity of a job needs that of all its shots."""
    job = Job(most=100, slices=4)
    job.lost = 1
    done = await job.passes.run(runs(100, 4))
    assert [first for first, _ in job.measured] == [0, 25]
    assert [run.overlap for run in done[1:]] == ["lost", None, None]
