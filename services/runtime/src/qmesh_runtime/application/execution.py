"""Executes one pass over a plan: ready blocks side by side, retries, fallbacks, lineage recovery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_kit.errors import ServiceError
from qmesh_model.errors import MeshError
from qmesh_runtime.domain.policy import PEER_GONE, TIMEOUT, Next, RetryPolicy
from qmesh_runtime.domain.profile import noise_profile
from qmesh_runtime.domain.requests import BlockRequests, RunState
from qmesh_runtime.ports import CallTimeoutError, Compiled, Nodes, PeerGoneError, StaleClaimError

_NO_ROOM = frozenset({"RESOURCE_EXHAUSTED", "REJECTED"})
"""Refusals of a reservation: this block cannot go there now; the node itself is well."""
_BASE_TIMEOUT = 5.0
_BYTES_PER_SECOND = 2e8


class ReplanNeededError(Exception):
    """No candidate of a block is left; the nodes that failed should not be planned again."""

    def __init__(self, block: planning.Block, excluded: set[str], cause: str) -> None:
        """Takes the block, the nodes that failed and the last cause."""
        super().__init__(cause)
        self.block = block
        self.excluded = excluded
        self.cause = cause


class SliceTooLargeError(ReplanNeededError):
    """No candidate of a block has the memory for so many shots."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a block, as the result tells it."""

    node_id: str
    outcome: str
    at: float


@dataclass(slots=True)
class BlockOutcome:
    """A recorded block."""

    block: planning.Block
    record: gate.ExecutionRecord
    response: gate.ExecuteResponse
    attempts: list[Attempt]
    seconds: float
    recovered: bool = False


class Recorder(Protocol):
    """Where the pass reports what happened, before it acts on it."""

    def started(self, block: planning.Block, node_id: str) -> None:
        """A block is about to be sent."""
        ...

    def failed(self, block: planning.Block, node_id: str, code: str, message: str) -> None:
        """An attempt failed."""
        ...

    def completed(self, run: RunState, outcome: BlockOutcome) -> None:
        """A block's signed answer came."""
        ...


class Tokens(Protocol):
    """Reservation tokens by node."""

    async def token(self, node_id: str, block: planning.Block) -> bytes:
        """Token for a node; a fallback node is reserved now.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED or REJECTED, when the node has no room.
        """
        ...


class Directory(Protocol):
    """Where nodes are now."""

    def addresses(self, node_id: str) -> list[str] | None:
        """Newest addresses; None for a node that is not there."""
        ...


@dataclass(slots=True)
class PassContext:
    """What all passes of a job share."""

    fence: int
    deadline: float
    noise: bool
    compiled: Compiled
    nodes: Nodes
    tokens: Tokens
    directory: Directory
    recorder: Recorder
    policy: RetryPolicy
    asked: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def addresses(self) -> dict[str, list[str]]:
        """Addresses of all nodes of the plan."""
        return {
            node_id: self.directory.addresses(node_id) or list(node.addresses)
            for node_id, node in self.compiled.nodes.items()
        }


class PlanPass:
    """One pass: a parameter set and a slice of shots."""

    def __init__(
        self, context: PassContext, requests: BlockRequests, run: RunState, recorded: Mapping[int, bytes]
    ) -> None:
        """Takes what earlier owners of the job already recorded in `run`."""
        self._context = context
        self._requests = requests
        self._run = run
        self._recorded = recorded
        self._plan = context.compiled.plan
        self._producer = {
            (use.component, use.position): block for block in self._plan.blocks for use in block.outputs
        }
        self._recovering: dict[int, asyncio.Lock] = {}
        self._addresses = context.addresses()

    async def run(self) -> None:
        """Executes every block that is not done yet.

        Raises:
            ReplanNeededError: a block has no candidate left.
            StaleClaimError: another runtime owns the job.
            MeshError: the job cannot succeed.
        """
        waiting = {
            block.block_id: {d for d in block.dependencies if d not in self._run.done}
            for block in self._plan.blocks
            if block.block_id not in self._run.done
        }

        async def execute(group: asyncio.TaskGroup, block: planning.Block) -> None:
            await self._execute(block)
            for other, missing in list(waiting.items()):
                missing.discard(block.block_id)
                if not missing:
                    del waiting[other]
                    group.create_task(execute(group, self._plan.blocks[other]))

        ready = [block_id for block_id, missing in waiting.items() if not missing]
        for block_id in ready:
            del waiting[block_id]
        try:
            async with asyncio.TaskGroup() as group:
                for block_id in ready:
                    group.create_task(execute(group, self._plan.blocks[block_id]))
        except BaseExceptionGroup as several:
            raise _first(several) from None

    async def _execute(self, block: planning.Block, *, recovering: bool = False) -> None:
        attempts: list[Attempt] = []
        cause = "no candidate"
        short = other = False
        for candidate in block.candidates:
            if candidate.node_id in self._context.gone or candidate.node_id in self._context.failed:
                continue
            here = 0
            while _counted(attempts) < self._context.policy.attempts:
                here += 1
                step, code, cause = await self._attempt(
                    block, candidate.node_id, attempts, recovering=recovering
                )
                if step is None:
                    return
                # a node that has no memory is asked again; a reservation that has no room says nothing about shots
                short |= code == "RESOURCE_EXHAUSTED" and step is Next.RETRY
                other |= code not in _NO_ROOM
                if code in {PEER_GONE, "RESOURCE_EXHAUSTED", TIMEOUT} and step is Next.RETRY:
                    step = self._again(code, here)
                if step is Next.FALLBACK:
                    if code not in _NO_ROOM:
                        self._context.failed.add(candidate.node_id)
                    break
                if step is Next.RETRY:
                    await asyncio.sleep(self._context.policy.pause(here))
        kind = SliceTooLargeError if short and not other else ReplanNeededError
        raise kind(block, self._context.gone | self._context.failed, cause)

    def _again(self, code: str, here: int) -> Next:
        policy = self._context.policy
        if code == "RESOURCE_EXHAUSTED":
            return policy.after(gate.OUTCOME_RESOURCE_EXHAUSTED, here)
        return policy.after_transport(code, here)

    async def _attempt(
        self, block: planning.Block, node_id: str, attempts: list[Attempt], *, recovering: bool
    ) -> tuple[Next | None, str, str]:
        """One attempt; (None, ...) when the block is recorded, else the next step, code and cause."""
        context = self._context
        begun = time.monotonic()
        try:
            token = await context.tokens.token(node_id, block)
        except ServiceError as error:
            if error.code not in _NO_ROOM:
                raise
            return self._fail(block, node_id, attempts, error.code, error.message, Next.FALLBACK)
        try:
            context.recorder.started(block, node_id)
            context.asked.add(node_id)
            request = self._build(block, node_id, token, recovering=recovering)
            response, record = await context.nodes.execute(
                node_id, self._addresses.get(node_id, []), request, self._timeout(block)
            )
        except PeerGoneError as error:
            context.gone.add(node_id)
            return self._fail(block, node_id, attempts, PEER_GONE, str(error), Next.FALLBACK)
        except CallTimeoutError as error:
            return self._fail(block, node_id, attempts, TIMEOUT, str(error), Next.RETRY)
        if record.outcome != gate.OUTCOME_DONE:
            return await self._refused(block, node_id, attempts, record)
        attempts.append(Attempt(node_id, "DONE", time.time()))
        self._run.absorb(block, record)
        self._run.keep(response.versions, record)
        outcome = BlockOutcome(block, record, response, attempts, time.monotonic() - begun, recovering)
        context.recorder.completed(self._run, outcome)
        return None, "", ""

    def _fail(
        self,
        block: planning.Block,
        node_id: str,
        attempts: list[Attempt],
        code: str,
        message: str,
        step: Next,
    ) -> tuple[Next, str, str]:
        attempts.append(Attempt(node_id, code, time.time()))
        self._context.recorder.failed(block, node_id, code, message)
        return step, code, f"{code} at {self._name(node_id)}: {message}"

    async def _refused(
        self, block: planning.Block, node_id: str, attempts: list[Attempt], record: gate.ExecutionRecord
    ) -> tuple[Next, str, str]:
        step = self._context.policy.after(record.outcome, 1)
        result = self._fail(block, node_id, attempts, record.error.code, record.error.message, step)
        if step is Next.STALE:
            raise StaleClaimError(record.error.message)
        if step is Next.FAIL:
            code = "DEADLINE_EXCEEDED" if record.outcome == gate.OUTCOME_DEADLINE else "INTERNAL"
            raise MeshError(code, f"block {block.block_id} was refused: {record.error.message}")
        if step is Next.RECOVER:
            for lost in record.lost:
                await self._recover(lost.component, lost.position)
            return Next.RECOVER, result[1], result[2]
        return result

    async def _recover(self, component: int, position: int) -> None:
        """Makes a lost version again by re-executing the block that made it, its ancestors first."""
        block = self._producer[component, position]
        before = self._run.refs.get((component, position))
        lock = self._recovering.setdefault(block.block_id, asyncio.Lock())
        async with lock:
            now = self._run.refs.get((component, position))
            if (
                now is not None
                and before is not None
                and (now.holder, now.digest) != (before.holder, before.digest)
            ):
                return
            self._run.groups[block.block_id] = self._run.groups.get(block.block_id, 0) + 1
            await self._execute(block, recovering=True)

    def _build(
        self, block: planning.Block, node_id: str, token: bytes, *, recovering: bool
    ) -> gate.ExecuteRequest:
        replayed = self._run.noise.get(block.block_id) if recovering else None
        profile = None
        if self._context.noise:
            profile = replayed or noise_profile(self._context.compiled.nodes[node_id])
        request = self._requests.build(
            block,
            self._run,
            fence=self._context.fence,
            token=token,
            addresses=self._addresses,
            noise=profile,
            recorded=self._run.columns if recovering else self._recorded,
        )
        request.noise_recorded = profile is not None and profile is replayed
        return request

    def _timeout(self, block: planning.Block) -> float:
        remaining = self._context.deadline - time.time()
        work = len(block.operations) * block.state_bytes / _BYTES_PER_SECOND
        return max(0.05, min(remaining, _BASE_TIMEOUT + work))

    def _name(self, node_id: str) -> str:
        node = self._context.compiled.nodes.get(node_id)
        return node.name if node is not None and node.name else node_id


def _counted(attempts: list[Attempt]) -> int:
    """Attempts that count against the policy; a lost input is no fault of the node that was asked."""
    return sum(attempt.outcome != "INPUT_LOST" for attempt in attempts) + len(attempts) // 8


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that decides: a lost claim before a job's error before a wish to replan."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [several]
    while stack:
        item = stack.pop()
        if isinstance(item, BaseExceptionGroup):
            stack.extend(item.exceptions)
        else:
            leaves.append(item)
    for kind in (StaleClaimError, MeshError, ServiceError, ReplanNeededError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]
