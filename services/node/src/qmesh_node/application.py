"""Executes blocks at most once: admission, inputs, execution, signed record."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from qmesh.fabric.v1 import channel_pb2 as channel
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_node import __version__
from qmesh_node.domain.admission import Admission, Limits, Offer, held_bytes, kept_until
from qmesh_node.domain.bits import columns_of, message_of
from qmesh_node.domain.block import Block
from qmesh_node.domain.cost import is_small
from qmesh_node.domain.errors import (
    BlockError,
    DeadlineError,
    ExhaustedError,
    FidelityLowError,
    InputLostError,
    InvalidBlockError,
    RejectedError,
)
from qmesh_node.domain.executor import Execution, Executor
from qmesh_node.domain.load import LoadMeter
from qmesh_node.domain.memory import Memory, Workspace
from qmesh_node.domain.noise import Behaviour
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.store import Claim, Version, VersionStore
from qmesh_node.domain.tableau import Part, Tableau
from qmesh_node.domain.tally import fragment_message
from qmesh_node.domain.token import TokenChecker
from qmesh_node.ports import Journal, Signer, StateSource

log = structlog.get_logger()

RECORD_DOMAIN = b"qmesh-execution-v1\0"
SOFTWARE = f"qmesh-node/{__version__}"
_PULL_SECONDS = 30.0

_Made = tuple[Execution, list[Version]]


class NodeService:
    """The gate protocol's application."""

    def __init__(
        self,
        *,
        signer: Signer,
        memory: Memory,
        store: VersionStore,
        tokens: TokenChecker,
        source: StateSource,
        journal: Journal,
        offers: Mapping[str, Offer],
        concurrency: int,
        behaviour: Behaviour,
        epoch: int,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Wires the node; nothing starts here."""
        self._signer = signer
        self._memory = memory
        self._store = store
        self._source = source
        self._journal = journal
        self._limits = limits or Limits()
        self._admission = Admission(signer.peer_id, tokens, offers, self._limits)
        self._behaviour = behaviour
        self._epoch = epoch
        self._clock = clock
        self._started = clock()
        self._running: dict[str, trio.Event] = {}
        self._slots = trio.CapacityLimiter(concurrency)
        self._idle = trio.Event()
        self._idle.set()
        self.meter = LoadMeter()
        self.draining = False

    @property
    def epoch(self) -> int:
        """Boot epoch."""
        return self._epoch

    async def execute(self, request: gate.ExecuteRequest) -> gate.ExecuteResponse:
        """Executes a block, or answers from the record of its execution; refusals are answers, too."""
        while (event := self._running.get(request.execution_id)) is not None:
            await event.wait()
        done = self._running[request.execution_id] = trio.Event()
        if not self.meter.active:
            self._idle = trio.Event()
        self.meter.active += 1
        try:
            response = self._known(request) or await self._execute(request)
            return self._with_versions(request, response)
        finally:
            self.meter.active -= 1
            if not self.meter.active:
                self._idle.set()
            del self._running[request.execution_id]
            done.set()

    async def idle(self) -> None:
        """Waits until nothing runs."""
        while self.meter.active:
            await self._idle.wait()

    def release(self, request: gate.ReleaseRequest) -> gate.ReleaseResponse:
        """Forgets versions of a job."""
        freed = self._store.release(request.job_id, request.fence, request.ids)
        return gate.ReleaseResponse(freed_bytes=freed)

    def ping(self) -> gate.PingResponse:
        """Says that the node lives."""
        return gate.PingResponse(epoch=self._epoch, accepting=not self.draining)

    def _known(self, request: gate.ExecuteRequest) -> gate.ExecuteResponse | None:
        """The earlier answer, while all versions that it names are still here, to a claim that is not stale."""
        known = self._store.record(request.job_id, request.execution_id)
        if known is None:
            return None
        try:
            self._store.claim(request.job_id, request.fence, 0.0)
        except BlockError:
            return None  # `_execute` says so, signed
        repeated = gate.ExecuteResponse()
        repeated.CopyFrom(known)
        repeated.repeated_answer = True
        return repeated

    def _with_versions(
        self, request: gate.ExecuteRequest, response: gate.ExecuteResponse
    ) -> gate.ExecuteResponse:
        """The answer with its small final versions, while they are here; what is kept of it stays without."""
        finals = [output for output in request.outputs if output.final] if request.inline_bytes else []
        small = []
        for output in finals:
            version = self._store.get(_identity(request, output))
            if version is not None and version.ref.bytes <= request.inline_bytes:
                parts = version.component.parts()
                small.append(
                    gate.VersionBytes(
                        component=output.component,
                        position=output.position,
                        data=b"".join(parts),
                        rows_bytes=parts[0].nbytes,
                    )
                )
        if not small:
            return response
        answer = gate.ExecuteResponse(versions=small)
        answer.MergeFrom(response)
        return answer

    async def _execute(self, request: gate.ExecuteRequest) -> gate.ExecuteResponse:
        record = self._begin(request)
        response = None
        try:
            response = await self._work(request, record, self._admit(request))
        except BlockError as error:
            self._refuse(record, error)
        except MemoryError:
            self._refuse(record, ExhaustedError("the machine has no memory left"))
        except Exception:
            log.exception("a block failed", execution_id=request.execution_id, job_id=request.job_id)
            self._refuse(record, BlockError("an unexpected error on this node"))
        response = response or self._sign(record)
        self._journal.append("execution", _line(record))
        return response

    def _admit(self, request: gate.ExecuteRequest) -> Claim:
        now = self._clock()
        self._store.check_fence(request.job_id, request.fence)
        if self.draining:
            raise RejectedError("this node drains and takes no new work")
        self._admission.check(request, now)
        return self._store.claim(request.job_id, request.fence, kept_until(request, now))

    def _begin(self, request: gate.ExecuteRequest) -> gate.ExecutionRecord:
        return gate.ExecutionRecord(
            execution_id=request.execution_id,
            job_id=request.job_id,
            plan_id=request.plan_id,
            block_id=request.block_id,
            node_id=self._signer.peer_id,
            epoch=self._epoch,
            fence=request.fence,
            software=SOFTWARE,
            started_at=self._clock(),
            executor=request.executor or state.EXECUTOR_KIND_ENSEMBLE,
            cpu_family=platform.machine(),
        )

    def _refuse(self, record: gate.ExecutionRecord, error: BlockError) -> None:
        for name in ("fragments", "produced", "columns", "consumed"):
            record.ClearField(name)
        record.outcome = error.outcome
        code = gate.Outcome.Name(error.outcome).removeprefix("OUTCOME_")
        record.error.CopyFrom(channel.Error(code=code, message=error.message))
        if isinstance(error, InputLostError):
            record.lost.extend(error.lost)

    def _sign(self, record: gate.ExecutionRecord) -> gate.ExecuteResponse:
        record.finished_at = self._clock()
        body = record.SerializeToString(deterministic=True)
        return gate.ExecuteResponse(record=body, signature=self._signer.sign(RECORD_DOMAIN + body))

    async def _work(
        self, request: gate.ExecuteRequest, record: gate.ExecutionRecord, claim: Claim
    ) -> gate.ExecuteResponse:
        """Waits for a slot, executes, and makes what was made visible."""
        if self._behaviour.delay_seconds:
            await trio.sleep(self._behaviour.delay_seconds)
        async with self._slots, self._room() as pulled:
            if request.deadline and request.deadline < self._clock():
                raise DeadlineError("the deadline passed before the work began")
            begun = trio.current_time()
            inputs = await self._inputs(request, pulled)
            ready = trio.current_time()
            record.pull_seconds = ready - begun
            record.input_digests.extend(component.ref.digest for component in request.inputs)
            try:
                execution, versions = await self._run(request, record, inputs)
                record.compute_seconds = trio.current_time() - ready
                self.meter.add(self._clock() - record.compute_seconds, self._clock())
                self._describe(request, record, execution, versions)
                record.outcome = gate.OUTCOME_DONE
                response = self._sign(record)
                self._store.commit(claim, request.execution_id, response, versions)
            except BlockError:
                if record.consumed:
                    raise InputLostError(record.consumed) from None
                raise
        return response

    async def _run(
        self, request: gate.ExecuteRequest, record: gate.ExecutionRecord, inputs: Sequence[Part]
    ) -> _Made:
        """Executes; when memory is short and the inputs may be consumed, once more without them."""
        profile = None
        if request.HasField("noise"):
            profile = request.noise
            if not request.noise_recorded:
                profile = self._behaviour.profile(request.noise, self._clock() - self._started)
            record.noise_used.CopyFrom(profile)
        try:
            return await self._compute(request, inputs, profile)
        except ExhaustedError:
            if not request.may_consume:
                raise
            record.consumed.extend(self._store.consume(component.ref.id for component in request.inputs))
            if not record.consumed:
                raise
        return await self._compute(request, inputs, profile)

    async def _compute(
        self, request: gate.ExecuteRequest, inputs: Sequence[Part], profile: gate.NoiseProfile | None
    ) -> _Made:
        """Computes in place when small, else in a thread, so that the node stays on the network."""
        shots = request.shots
        block = Block(
            operations=request.operations,
            fragments=request.fragments,
            outputs=request.outputs,
            fresh_wires=request.fresh_wires,
            draws=Draws(request.seed, shots.first, shots.count, request.parameter_set),
            profile=profile,
            precision=request.precision or state.PRECISION_DOUBLE,
            deadline=request.deadline or math.inf,
            stabilizer=request.executor == state.EXECUTOR_KIND_STABILIZER,
        )
        own = [component.borrowed() for component in inputs]
        columns = columns_of(request.columns, shots.count), columns_of(request.recorded, shots.count)
        workspace = self._memory.workspace()
        try:
            executor = Executor(block, own, *columns, workspace, self._limits.dense_qubits)
            work = partial(self._finish, executor, request)
            if is_small(request, inputs):
                return work()
            return await _in_thread(executor, work)
        finally:
            workspace.close()

    def _finish(self, executor: Executor, request: gate.ExecuteRequest) -> _Made:
        execution = executor.run()
        versions = []
        for output, component in zip(request.outputs, execution.components, strict=True):
            component.compact()
            component.freeze()
            ref = state.ComponentRef(
                id=_identity(request, output),
                wires=component.wires,
                executor=_kind(stabilizer=isinstance(component, Tableau)),
                precision=request.precision or state.PRECISION_DOUBLE,
                shots=request.shots,
                rows=component.rows,
                digest=component.digest(),
                holder=self._signer.peer_id,
                epoch=self._epoch,
                bytes=component.nbytes,
            )
            versions.append(Version(ref, component))
        return execution, versions

    def _describe(
        self,
        request: gate.ExecuteRequest,
        record: gate.ExecutionRecord,
        execution: Execution,
        versions: Sequence[Version],
    ) -> None:
        noisy = request.HasField("noise")
        record.executor = _kind(stabilizer=execution.stabilizer)
        ebits: dict[int, list[gate.EbitUse]] = {}
        for operation in request.operations:
            ebits.setdefault(operation.fragment, []).extend(operation.ebits)
        for number, (header, tally) in enumerate(zip(request.fragments, execution.fragments, strict=True)):
            result = fragment_message(header, tally, noisy=noisy, ebits=ebits.get(number, []))
            if request.min_fidelity and result.fidelity_high < request.min_fidelity:
                raise FidelityLowError(
                    f"fragment {header.fragment_id} shows fidelity {result.observed_fidelity:.4f}, credibly below "
                    f"{request.min_fidelity}"
                )
            record.fragments.append(result)
        record.columns.extend(
            message_of(version, column) for version, column in sorted(execution.columns.items())
        )
        record.produced.extend(version.ref for version in versions)

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[Workspace]:
        """Room that is given back whatever happens."""
        workspace = self._memory.workspace()
        try:
            yield workspace
        finally:
            workspace.close()

    async def _inputs(self, request: gate.ExecuteRequest, pulled: Workspace) -> list[Part]:
        """All inputs, those that are missing from their holders, in parallel."""
        found: dict[int, Part] = {}
        lost: list[state.ComponentId] = []
        refusals: list[BlockError] = []

        async def bring(number: int, component: gate.InputComponent) -> None:
            try:
                found[number] = await self._input(number, component, request, pulled)
            except LookupError:
                lost.append(component.ref.id)
            except BlockError as refusal:
                refusals.append(refusal)

        async with trio.open_nursery() as nursery:
            for number, component in enumerate(request.inputs):
                nursery.start_soon(bring, number, component)
        if refusals:
            raise refusals[0]
        if lost:
            raise InputLostError(lost)
        return [found[number] for number in range(len(request.inputs))]

    async def _input(
        self, number: int, component: gate.InputComponent, request: gate.ExecuteRequest, pulled: Workspace
    ) -> Part:
        ref = component.ref
        here = self._store.get(ref.id)
        if here is not None and here.ref.digest == ref.digest:
            found = here.component
        elif ref.holder == self._signer.peer_id:
            raise LookupError(ref.holder)
        else:
            # asked for before a byte arrives, and counted while the block runs
            pulled.resize(number, held_bytes(ref))
            deadline = request.deadline or self._clock() + _PULL_SECONDS
            found = await self._source.pull(ref, component.addresses, request.reservation_token, deadline)
        if found.wires != tuple(ref.wires) or len(found.row_of_shot) != request.shots.count:
            raise InvalidBlockError("an input covers other wires or shots than the block says")
        return found


def _identity(request: gate.ExecuteRequest, output: gate.OutputComponent) -> state.ComponentId:
    return state.ComponentId(
        job_id=request.job_id,
        parameter_set=request.parameter_set,
        slice=request.slice,
        plan_id=request.plan_id,
        component=output.component,
        position=output.position,
    )


def _kind(*, stabilizer: bool) -> state.ExecutorKind.ValueType:
    return state.EXECUTOR_KIND_STABILIZER if stabilizer else state.EXECUTOR_KIND_ENSEMBLE


async def _in_thread(executor: Executor, work: Callable[[], _Made]) -> _Made:
    """Runs in a thread; when the caller is cancelled the thread ends at its next operation, and is waited for."""
    made: _Made | None = None
    failure: Exception | None = None

    async def watch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            executor.abandoned = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            made = await trio.to_thread.run_sync(work)
        except Exception as error:  # noqa: BLE001 - raised again below: the nursery would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel()
    if made is None:
        raise failure or RuntimeError("the thread ended without a result")
    return made


def _line(record: gate.ExecutionRecord) -> dict[str, object]:
    return {
        "execution_id": record.execution_id,
        "job_id": record.job_id,
        "block_id": record.block_id,
        "fence": record.fence,
        "outcome": gate.Outcome.Name(record.outcome),
        "fragments": [f.fragment_id for f in record.fragments],
        "produced": [ref.digest.hex() for ref in record.produced],
    }
