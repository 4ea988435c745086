"""Executes blocks at most once: admission, inputs, execution, signed record."""

from __future__ import annotations

import math
import platform
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from qmesh.fabric.v1 import channel_pb2 as channel
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_node import __version__
from qmesh_node.domain.bits import columns_of, message_of
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import (
    BlockError,
    DeadlineError,
    ExhaustedError,
    InvalidBlockError,
    RejectedError,
)
from qmesh_node.domain.executor import Block, Execution, Executor, fragment_message
from qmesh_node.domain.noise import Behaviour
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.store import Version, VersionStore
from qmesh_node.domain.token import TokenChecker
from qmesh_node.ports import Journal, Signer, StateSource

RECORD_DOMAIN = b"qmesh-execution-v1\0"
SOFTWARE = f"qmesh-node/{__version__}"
_INLINE_AMPLITUDES = 1 << 14  # below this a thread costs more than the work


class InputLostError(BlockError):
    """An input version could not be had."""

    outcome = gate.OUTCOME_INPUT_LOST

    def __init__(self, lost: Sequence[state.ComponentId]) -> None:
        """Takes the versions that are missing."""
        super().__init__(f"{len(lost)} input version(s) could not be had from their holders")
        self.lost = list(lost)


class FidelityLowError(BlockError):
    """The observed fidelity is credibly below what the job asks."""

    outcome = gate.OUTCOME_FIDELITY_LOW


@dataclass(slots=True)
class Limits:
    """What the node takes on."""

    data_qubits: int
    concurrency: int
    dense_qubits: int = 22
    max_shots: int = 1_000_000
    max_operations: int = 60_000


@dataclass(slots=True)
class LoadMeter:
    """Busy fraction over the last ten seconds."""

    active: int = 0
    _spans: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, start: float, end: float) -> None:
        """Notes one execution."""
        self._spans.append((start, end))

    def busy(self, now: float, window: float = 10.0) -> float:
        """Fraction of the window spent computing, at most 1."""
        while self._spans and self._spans[0][1] < now - window:
            self._spans.popleft()
        return min(1.0, sum(end - max(start, now - window) for start, end in self._spans) / window)


class NodeService:
    """The gate protocol's application."""

    def __init__(
        self,
        *,
        signer: Signer,
        store: VersionStore,
        tokens: TokenChecker,
        source: StateSource,
        journal: Journal,
        services: frozenset[str],
        limits: Limits,
        behaviour: Behaviour,
        epoch: int,
    ) -> None:
        """Wires the node; nothing starts here."""
        self._signer = signer
        self._store = store
        self._tokens = tokens
        self._source = source
        self._journal = journal
        self._services = services
        self._limits = limits
        self._behaviour = behaviour
        self._epoch = epoch
        self._started = time.time()
        self._running: dict[str, trio.Event] = {}
        self._slots = trio.CapacityLimiter(limits.concurrency)
        self.meter = LoadMeter()
        self.draining = False

    @property
    def epoch(self) -> int:
        """Boot epoch."""
        return self._epoch

    async def execute(self, request: gate.ExecuteRequest) -> gate.ExecuteResponse:
        """Executes a block, or answers from the record of its execution."""
        while (event := self._running.get(request.execution_id)) is not None:
            await event.wait()
        known = self._known(request)
        if known is not None:
            return known
        done = self._running[request.execution_id] = trio.Event()
        self.meter.active += 1
        try:
            return await self._execute(request)
        finally:
            self.meter.active -= 1
            del self._running[request.execution_id]
            done.set()

    def release(self, request: gate.ReleaseRequest) -> gate.ReleaseResponse:
        """Forgets versions of a job."""
        freed = self._store.release(request.job_id, request.fence, request.ids)
        return gate.ReleaseResponse(freed_bytes=freed)

    def ping(self) -> gate.PingResponse:
        """Says that the node lives."""
        return gate.PingResponse(epoch=self._epoch, accepting=not self.draining)

    def _known(self, request: gate.ExecuteRequest) -> gate.ExecuteResponse | None:
        """The earlier answer, while all versions that it names are still here."""
        known = self._store.record(request.job_id, request.execution_id)
        if known is None:
            return None
        record = gate.ExecutionRecord.FromString(known.record)
        if record.fence > request.fence or any(self._store.get(ref.id) is None for ref in record.produced):
            self._store.forget_record(request.job_id, request.execution_id)
            return None
        repeated = gate.ExecuteResponse()
        repeated.CopyFrom(known)
        repeated.repeated_answer = True
        return repeated

    async def _execute(self, request: gate.ExecuteRequest) -> gate.ExecuteResponse:
        record = gate.ExecutionRecord(
            execution_id=request.execution_id,
            job_id=request.job_id,
            plan_id=request.plan_id,
            block_id=request.block_id,
            node_id=self._signer.peer_id,
            epoch=self._epoch,
            fence=request.fence,
            software=SOFTWARE,
            started_at=time.time(),
            executor=state.EXECUTOR_KIND_ENSEMBLE,
            cpu_family=platform.machine(),
        )
        versions: list[Version] = []
        try:
            self._admit(request)
            if self._behaviour.delay_seconds:
                await trio.sleep(self._behaviour.delay_seconds)
            async with self._slots:
                versions = await self._run(request, record)
            record.outcome = gate.OUTCOME_DONE
        except BlockError as error:
            self._refuse(record, error)
        record.finished_at = time.time()
        response = self._sign(record)
        if record.outcome == gate.OUTCOME_DONE:
            try:
                self._store.commit(request.job_id, request.execution_id, response, versions)
            except ExhaustedError as error:
                self._refuse(record, error)
                response = self._sign(record)
        self._journal.append("execution", self._line(record))
        return response

    def _refuse(self, record: gate.ExecutionRecord, error: BlockError) -> None:
        record.ClearField("fragments")
        record.ClearField("produced")
        record.ClearField("columns")
        record.outcome = error.outcome
        code = gate.Outcome.Name(error.outcome).removeprefix("OUTCOME_")
        record.error.CopyFrom(channel.Error(code=code, message=error.message))
        if isinstance(error, InputLostError):
            record.lost.extend(error.lost)

    def _line(self, record: gate.ExecutionRecord) -> dict[str, object]:
        return {
            "execution_id": record.execution_id,
            "job_id": record.job_id,
            "block_id": record.block_id,
            "fence": record.fence,
            "outcome": gate.Outcome.Name(record.outcome),
            "fragments": [f.fragment_id for f in record.fragments],
            "produced": [ref.digest.hex() for ref in record.produced],
        }

    def _sign(self, record: gate.ExecutionRecord) -> gate.ExecuteResponse:
        body = record.SerializeToString(deterministic=True)
        return gate.ExecuteResponse(record=body, signature=self._signer.sign(RECORD_DOMAIN + body))

    def _admit(self, request: gate.ExecuteRequest) -> None:
        now = time.time()
        if self.draining:
            raise RejectedError("this node drains and takes no new work")
        if request.deadline and request.deadline < now:
            raise DeadlineError("the deadline passed before the work began")
        claims = self._tokens.check(
            request.reservation_token,
            job_id=request.job_id,
            node_id=self._signer.peer_id,
            fence=request.fence,
            now=now,
        )
        allowed = self._services & set(claims.service_types)
        for operation in request.operations:
            if operation.service_type not in allowed:
                raise RejectedError(
                    f"service {operation.service_type!r} is not offered here, or not reserved"
                )
        if not 0 < request.shots.count <= self._limits.max_shots:
            raise InvalidBlockError(f"{request.shots.count} shots are outside 1 to {self._limits.max_shots}")
        if len(request.operations) > self._limits.max_operations:
            raise InvalidBlockError(f"{len(request.operations)} operations are too many for one block")
        if any(not math.isfinite(p) for operation in request.operations for p in operation.parameters):
            raise InvalidBlockError("a parameter is not finite")
        if request.executor == state.EXECUTOR_KIND_STABILIZER:
            raise RejectedError("this node has no stabilizer executor")
        self._store.claim(request.job_id, request.fence, request.keep_until or now + 60)

    async def _run(self, request: gate.ExecuteRequest, record: gate.ExecutionRecord) -> list[Version]:
        begun = time.perf_counter()
        inputs = await self._inputs(request)
        record.pull_seconds = time.perf_counter() - begun
        record.input_digests.extend(component.ref.digest for component in request.inputs)
        profile = None
        if request.HasField("noise"):
            profile = self._behaviour.profile(request.noise, time.time() - self._started)
            record.noise_used.CopyFrom(profile)
        block = Block(
            operations=request.operations,
            fragments=request.fragments,
            outputs=request.outputs,
            fresh_wires=request.fresh_wires,
            draws=Draws(request.seed, request.shots.first, request.shots.count, request.parameter_set),
            profile=profile,
            precision=request.precision,
            memory_limit=self._store.free_bytes,
            dense_limit=self._limits.dense_qubits,
        )
        shots = request.shots.count
        executor = Executor(
            block, inputs, columns_of(request.columns, shots), columns_of(request.recorded, shots)
        )
        execution, versions = await self._compute(partial(self._finish, executor, request), request, inputs)
        self._describe(request, record, execution, noisy=profile is not None)
        record.produced.extend(version.ref for version in versions)
        record.compute_seconds = time.perf_counter() - begun - record.pull_seconds
        self.meter.add(time.time() - record.compute_seconds, time.time())
        return versions

    async def _compute(
        self,
        work: partial[tuple[Execution, list[Version]]],
        request: gate.ExecuteRequest,
        inputs: Sequence[Ensemble],
    ) -> tuple[Execution, list[Version]]:
        """Computes in place when small, else in a thread, so that the node stays on the network."""
        rows = max([component.rows for component in inputs], default=1)
        qubits = max([len(output.wires) for output in request.outputs], default=1)
        if (rows * len(request.operations)) << qubits <= _INLINE_AMPLITUDES:
            return work()
        return await trio.to_thread.run_sync(work)

    def _finish(self, executor: Executor, request: gate.ExecuteRequest) -> tuple[Execution, list[Version]]:
        execution = executor.run()
        versions = []
        for output, ensemble in zip(request.outputs, execution.ensembles, strict=True):
            ensemble.compact()
            ensemble.freeze()
            ref = state.ComponentRef(
                id=state.ComponentId(
                    job_id=request.job_id,
                    parameter_set=request.parameter_set,
                    slice=request.slice,
                    plan_id=request.plan_id,
                    component=output.component,
                    position=output.position,
                ),
                wires=ensemble.wires,
                executor=state.EXECUTOR_KIND_ENSEMBLE,
                precision=request.precision or state.PRECISION_DOUBLE,
                shots=request.shots,
                rows=ensemble.rows,
                digest=ensemble.digest(),
                holder=self._signer.peer_id,
                epoch=self._epoch,
                bytes=ensemble.nbytes,
            )
            versions.append(Version(ref, ensemble))
        return execution, versions

    def _describe(
        self,
        request: gate.ExecuteRequest,
        record: gate.ExecutionRecord,
        execution: Execution,
        *,
        noisy: bool,
    ) -> None:
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

    async def _inputs(self, request: gate.ExecuteRequest) -> list[Ensemble]:
        found: dict[int, Ensemble] = {}
        lost: list[state.ComponentId] = []
        refusals: list[BlockError] = []

        async def bring(number: int, component: gate.InputComponent) -> None:
            try:
                found[number] = await self._input(component, request)
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

    async def _input(self, component: gate.InputComponent, request: gate.ExecuteRequest) -> Ensemble:
        ref = component.ref
        here = self._store.get(ref.id)
        if here is not None and here.ref.digest == ref.digest:
            ensemble = here.ensemble
        elif ref.holder == self._signer.peer_id:
            raise LookupError(ref.holder)
        else:
            if ref.bytes > self._store.free_bytes:
                raise ExhaustedError(f"an input of {ref.bytes} bytes does not fit")
            deadline = request.deadline or time.time() + 30
            ensemble = await self._source.pull(ref, component.addresses, request.reservation_token, deadline)
        if len(ensemble.row_of_shot) != request.shots.count:
            raise InvalidBlockError("an input covers other shots than the block")
        return Ensemble(ensemble.wires, ensemble.states, ensemble.row_of_shot, shared=True)
