"""Builds the Execute requests of a plan's blocks from the plan and the bound circuit."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_model.homes import Homes
from qmesh_runtime.domain.overlap import Spread
from qmesh_runtime.domain.slices import Slice

_INLINE_BYTES = 64 << 10
_CONSUMABLE_BYTES = 64 << 20
"""Inputs of so many bytes may be given up for what is made of them; lineage makes them again should the block then fail."""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:qmesh:execution")


@dataclass(frozen=True, slots=True)
class RunKey:
    """One pass over the plan: a parameter set and a slice of shots."""

    parameter_set: int
    slice: int
    first_shot: int
    shots: int

    def halves(self, slices: int) -> list[RunKey]:
        """Two passes over half of the shots each; none when they cannot be halved. `slices`: those of the plan."""
        halves = Slice(self.slice, self.first_shot, self.shots).halves(slices) or ()
        return [RunKey(self.parameter_set, half.index, half.first, half.shots) for half in halves]


VersionData = tuple[bytes, int]
"""Bytes of a version, and how many of them are rows."""


@dataclass(slots=True)
class RunState:
    """What one pass has made so far."""

    key: RunKey
    refs: dict[tuple[int, int], state.ComponentRef] = field(default_factory=dict)
    columns: dict[int, bytes] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    noise: dict[int, gate.NoiseProfile] = field(default_factory=dict)
    groups: dict[int, int] = field(default_factory=dict)
    versions: dict[bytes, VersionData] = field(default_factory=dict)
    """Small final versions that came with the answers, by digest."""
    overlap: Spread | str | None = None
    """Fidelity of its shots as the holders found it, or why not; None: nobody asked."""

    def absorb(self, block: planning.Block, record: gate.ExecutionRecord) -> None:
        """Takes in a block's record: its versions replace earlier ones of the same name."""
        for ref in record.produced:
            self.refs[ref.id.component, ref.id.position] = ref
        for column in record.columns:
            self.columns.setdefault(column.version, column.bits)
        if record.HasField("noise_used"):
            self.noise[block.block_id] = record.noise_used
        self.done.add(block.block_id)

    def keep(self, versions: Iterable[gate.VersionBytes], record: gate.ExecutionRecord) -> None:
        """Keeps versions that came with an answer and are what its signed record says they are."""
        digests = {(ref.id.component, ref.id.position): ref.digest for ref in record.produced}
        for version in versions:
            if (digest := hashlib.sha256(version.data).digest()) == digests.get(
                (version.component, version.position)
            ):
                self.versions[digest] = (version.data, version.rows_bytes)


def execution_id(job_id: str, key: RunKey, plan_id: str, block_id: int, group: int) -> str:
    """uuid5 of job, parameter set, slice, plan, block and attempt group: the same across owners."""
    name = f"{job_id}/{key.parameter_set}/{key.slice}/{plan_id}/{block_id}/{group}"
    return str(uuid.uuid5(_NAMESPACE, name))


def operations_of(
    plan: planning.Plan,
    block: planning.Block,
    form: circuit.Circuit,
    memories: Mapping[str, advert.Memory] | None = None,
) -> tuple[list[gate.NodeOperation], list[gate.FragmentHeader]]:
    """A block's operations on wires, with bound parameters, and its fragments.

    Args:
        plan: the plan.
        block: one of its blocks.
        form: the circuit with all parameters bound.
        memories: decay times by node; None with noise off, when waiting and pairs leave no errors.
    """
    numbers = {fragment: number for number, fragment in enumerate(block.fragments)}
    changes = () if memories is None else plan.homes
    homes = Homes((change.wire, change.from_operation, change.node_id) for change in changes)
    operations = []
    for step in block.operations:
        source = form.operations[step.operation]
        operation = gate.NodeOperation(
            index=source.index,
            kind=source.kind,
            name=source.name,
            service_type=source.service_type,
            wires=step.wires,
            parameters=[parameter.value for parameter in source.parameters],
            writes=source.writes,
            terminal=source.terminal,
            fragment=numbers[step.fragment],
            ebits=[ebit_use(plan.ebits[pair]) for pair in step.pairs],
        )
        if source.HasField("condition"):
            operation.condition.CopyFrom(source.condition)
        if memories is not None:
            operation.struck.extend(_strike(plan.ebits[pair], step.operation) for pair in step.struck)
            operation.idle_ns.extend(step.idle_ns)
            if step.idle_ns:
                waited_at = [memories[homes.before(wire, step.operation)] for wire in step.wires]
                operation.t1_seconds.extend(memory.t1_seconds for memory in waited_at)
                operation.t2_seconds.extend(memory.t2_seconds for memory in waited_at)
        operations.append(operation)
    headers = []
    for number in block.fragments:
        fragment = plan.fragments[number]
        headers.append(
            gate.FragmentHeader(
                fragment_id=fragment.fragment_id,
                service_type=fragment.service_type,
                planned_start_ns=fragment.start_ns,
                gate_ns=fragment.gate_ns,
                link_wait_ns=fragment.link_wait_ns,
                idle_ns=fragment.idle_ns,
            )
        )
    return operations, headers


def ebit_use(pair: planning.PlannedEbit) -> gate.EbitUse:
    """A planned pair as the executing node records it."""
    return gate.EbitUse(
        pair=pair.pair,
        node_a=pair.node_a,
        node_b=pair.node_b,
        fidelity=pair.fidelity,
        raw_pairs=pair.raw_pairs,
        born_ns=pair.born_ns,
        used_ns=pair.used_ns,
        wire=pair.wire,
        kind=pair.kind,
        error_x=pair.error_x,
        error_y=pair.error_y,
        error_z=pair.error_z,
        operation=pair.operation,
        draw=pair.draw,
    )


def _strike(pair: planning.PlannedEbit, operation: int) -> gate.EbitUse:
    """A pair whose error acts at an operation; a cat copy that serves no gate there has become the wire."""
    use = ebit_use(pair)
    if pair.kind == "cat" and operation not in pair.packet:
        use.kind = "kept"
    return use


@dataclass(frozen=True, slots=True)
class JobFrame:
    """What all requests of a job have in common."""

    job_id: str
    tenant_id: str
    seed: int
    precision: state.Precision.ValueType
    min_fidelity: float
    """0 with noise off."""
    deadline: float
    single_pass: bool
    """Whether each parameter set is one slice of shots: else its versions are compared and released pass by pass, and none comes with an answer."""
    traceparent: str = ""


def last_versions(plan: planning.Plan) -> dict[int, int]:
    """Position of the last version of every component that lives to the end."""
    last: dict[int, int] = {}
    for block in plan.blocks:
        for use in block.outputs:
            last[use.component] = max(use.position, last.get(use.component, 0))
    return {
        chain.component: last[chain.component]
        for chain in plan.chains
        if chain.final and chain.component in last
    }


def final_refs(
    plan: planning.Plan, refs: Mapping[tuple[int, int], state.ComponentRef]
) -> list[state.ComponentRef]:
    """Last version of every component that lives to the end."""
    return [refs[version] for version in sorted(last_versions(plan).items()) if version in refs]


class BlockRequests:
    """Requests of one plan for one parameter set; the part that never changes is built once."""

    def __init__(
        self,
        frame: JobFrame,
        plan: planning.Plan,
        form: circuit.Circuit,
        memories: Mapping[str, advert.Memory] | None,
    ) -> None:
        """Takes the plan, the circuit with the set's parameters bound, and decay times by node; None: noise off."""
        self._memories = memories
        self._frame = frame
        self._plan = plan
        self._form = form
        self._static: dict[int, tuple[list[gate.NodeOperation], list[gate.FragmentHeader]]] = {}
        self._finals = last_versions(plan)

    def build(
        self,
        block: planning.Block,
        run: RunState,
        *,
        fence: int,
        token: bytes,
        addresses: Mapping[str, list[str]],
        noise: gate.NoiseProfile | None,
        recorded: Mapping[int, bytes],
    ) -> gate.ExecuteRequest:
        """The request for one block on one node.

        Args:
            block: the block.
            run: what the pass has made so far; every input must be there.
            fence: the job's claim.
            token: reservation token for the node.
            addresses: addresses of holders by peer id.
            noise: profile of the node that executes; None: noise off.
            recorded: columns to project on, by version.
        """
        if block.block_id not in self._static:
            self._static[block.block_id] = operations_of(self._plan, block, self._form, self._memories)
        operations, fragments = self._static[block.block_id]
        frame, key = self._frame, run.key
        request = gate.ExecuteRequest(
            execution_id=execution_id(
                frame.job_id, key, self._plan.plan_id, block.block_id, run.groups.get(block.block_id, 0)
            ),
            job_id=frame.job_id,
            tenant_id=frame.tenant_id,
            plan_id=self._plan.plan_id,
            block_id=block.block_id,
            parameter_set=key.parameter_set,
            slice=key.slice,
            fence=fence,
            reservation_token=token,
            seed=frame.seed,
            shots=state.ShotRange(first=key.first_shot, count=key.shots),
            executor=block.executor,
            precision=frame.precision,
            fresh_wires=block.fresh_wires,
            operations=operations,
            fragments=fragments,
            outputs=[
                gate.OutputComponent(
                    component=use.component,
                    position=use.position,
                    wires=use.wires,
                    final=self._finals.get(use.component) == use.position,
                )
                for use in block.outputs
            ],
            inline_bytes=_INLINE_BYTES if frame.single_pass else 0,
            min_fidelity=frame.min_fidelity,
            deadline=frame.deadline,
            keep_until=frame.deadline + 60,
            traceparent=frame.traceparent,
        )
        for use in block.inputs:
            ref = run.refs[use.component, use.position]
            request.inputs.append(gate.InputComponent(ref=ref, addresses=addresses.get(ref.holder, [])))
        request.may_consume = sum(item.ref.bytes for item in request.inputs) >= _CONSUMABLE_BYTES
        for version in block.reads:
            request.columns.append(gate.BitColumn(version=version, bits=run.columns[version]))
        for version in block.writes:
            if version in recorded:
                request.recorded.append(gate.BitColumn(version=version, bits=recorded[version]))
        if noise is not None:
            request.noise.CopyFrom(noise)
        return request
