"""Makes an immutable plan out of circuit, snapshot and configuration; the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as pb
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh_model import wire
from qmesh_model.circuit import Circuit, Operation
from qmesh_model.errors import MeshError
from qmesh_model.homes import Homes
from qmesh_model.pairs import Decay
from qmesh_planner import __version__
from qmesh_planner.domain import ebits
from qmesh_planner.domain.candidates import Candidates, Scored
from qmesh_planner.domain.ebits import struck_by
from qmesh_planner.domain.errors import no_capable_node
from qmesh_planner.domain.executors import stabilizer_components
from qmesh_planner.domain.noise import good_enough, operation_fidelity
from qmesh_planner.domain.placement import Walk
from qmesh_planner.domain.schedule import Schedule, schedule_of
from qmesh_planner.domain.search import Search
from qmesh_planner.domain.sequence import Group, groups_of
from qmesh_planner.domain.topology import Site, Topology, topology_of
from qmesh_planner.domain.versions import Touch, Use, Versions
from qmesh_planner.domain.weights import Demand, Weights
from qmesh_planner.domain.work import Work, work_of

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:qmesh:plan")
_SHARE_OF_MEMORY = 4
_SECONDS_PER_CALL = 0.005
_LINK_QUBITS = (1, 2, 5)


@dataclass(slots=True)
class _Parts:
    walk: Walk
    groups: list[Group]
    uses: list[Use]
    versions: Versions
    schedule: Schedule
    demand: Demand


def make_plan(request: planner.CompileRequest, weights: Weights) -> pb.Plan:
    """Plans a request whose `topology` is filled in.

    Raises:
        MeshError: NO_CAPABLE_NODE, STRATEGY_UNAVAILABLE, or INVALID_ARGUMENT for a circuit that makes no sense.
    """
    work = work_of(wire.from_proto(request.circuit))
    if not work.tasks:
        raise MeshError("INVALID_ARGUMENT", "the circuit has nothing to execute")
    excluded = frozenset(request.excluded_nodes)
    topology = topology_of(
        request.topology.nodes, request.topology.links, excluded=excluded, min_fidelity=request.min_fidelity
    )
    if request.noise and request.min_fidelity:
        topology = good_enough(topology, request.min_fidelity)
    walk = _placed(request.strategy, work, topology, weights)
    single = request.precision == state.PRECISION_SINGLE
    demand = Demand(request.shots, request.noise, 8 if single else 16)
    groups = groups_of(walk)
    versions = Versions(walk, demand, _stabilizers(work, topology))
    uses = [versions.take(number, group) for number, group in enumerate(groups)]
    _check_room(topology, uses, demand)
    parts = _Parts(walk, groups, uses, versions, schedule_of(walk, groups), demand)
    plan = _assemble(request, weights, parts)
    digest = hashlib.sha256(plan.SerializeToString(deterministic=True)).hexdigest()
    plan.plan_id = str(uuid.uuid5(_NAMESPACE, f"{request.caller.tenant_id}\0{digest}"))
    return plan


def _check_room(topology: Topology, uses: Sequence[Use], demand: Demand) -> None:
    """Refuses a circuit that no node can hold, whatever the number of shots."""
    widest = max(site.dense_qubits for site in topology.sites)
    largest = max(site.state_bytes for site in topology.sites)
    for use in uses:
        if use.dense_qubits > widest:
            raise no_capable_node(
                "",
                f"{use.dense_qubits} qubits interact, with gates that need amplitudes; the live nodes hold at most {widest} "
                "together",
            )
        if use.least(demand) > largest:
            raise no_capable_node(
                "",
                f"{use.dense_qubits} qubits that interact take {use.least(demand):,} bytes; the largest live node has {largest:,}",
            )


def _placed(strategy: int, work: Work, topology: Topology, weights: Weights) -> Walk:
    search = Search(work, topology, weights)
    if strategy in {pb.STRATEGY_UNSPECIFIED, pb.STRATEGY_COST}:
        return search.cheapest()
    if strategy == pb.STRATEGY_CENTRALIZED:
        return search.centralized()
    raise MeshError("STRATEGY_UNAVAILABLE", "the strategies are: cost, centralized")


def _assemble(request: planner.CompileRequest, weights: Weights, parts: _Parts) -> pb.Plan:
    walk = parts.walk
    plan = pb.Plan(
        parent_plan_id=request.parent_plan_id,
        generation=request.generation,
        strategy=request.strategy or pb.STRATEGY_COST,
        circuit_digest=walk.work.circuit.digest,
        snapshot_id=request.topology.snapshot_id,
        configuration=pb.Configuration(
            weight_latency=weights.latency,
            weight_risk=weights.risk,
            weight_ebit=weights.ebit,
            weight_load=weights.load,
            excluded_nodes=sorted(request.excluded_nodes),
            min_fidelity=request.min_fidelity,
            noise=request.noise,
            shots=request.shots,
            precision=request.precision or state.PRECISION_DOUBLE,
        ),
        final_wires=walk.work.track.final,
        makespan_ns=parts.schedule.makespan,
        planner_version=__version__,
    )
    _add_fragments(plan, parts)
    _add_blocks(plan, weights, parts)
    _add_chains(plan, parts)
    _add_pairs(plan, parts)
    _add_demands(plan, parts)
    _add_figures(plan, parts)
    return plan


def _add_fragments(plan: pb.Plan, parts: _Parts) -> None:
    work = parts.walk.work
    block_of = {n: b for b, group in enumerate(parts.groups) for unit in group.units for n in unit.tasks}
    for fragment in work.fragments:
        slot = parts.schedule.slots[fragment.number]
        site = parts.walk.topology.sites[parts.walk.executing[fragment.number]]
        operations = [work.circuit.operations[index] for index in fragment.operations]
        plan.fragments.add(
            fragment_id=f"{plan.generation}.{fragment.number}",
            service_type=fragment.service_type,
            wires=fragment.wires,
            qubits=fragment.qubits,
            operations=fragment.operations,
            dependencies=fragment.dependencies,
            block=block_of[fragment.number],
            start_ns=slot.start,
            gate_ns=slot.gate,
            link_wait_ns=slot.link_wait,
            idle_ns=slot.idle,
            predicted_fidelity=_predicted(parts, site, operations) if parts.demand.noise else 1.0,
        )


def _predicted(parts: _Parts, site: Site, operations: Sequence[Operation]) -> float:
    """Process fidelity of a fragment: its operations, and the pairs that they begin to use."""
    pairs = [pair for op in operations for pair in parts.walk.begins.get(op.index, ())]
    delivered = math.prod(parts.schedule.pairs[pair].errors.none for pair in pairs)
    return delivered * math.prod(operation_fidelity(site, op) for op in operations)


def _add_blocks(plan: pb.Plan, weights: Weights, parts: _Parts) -> None:
    walk = parts.walk
    candidates = Candidates(walk, parts.schedule, weights)
    block_of_unit = {unit.number: b for b, group in enumerate(parts.groups) for unit in group.units}
    holder: dict[tuple[int, int], int] = {}
    struck = struck_by(walk)
    stages: dict[int, list[int]] = defaultdict(list)
    for number, (group, use) in enumerate(zip(parts.groups, parts.uses, strict=True)):
        needs = use.needs | {block_of_unit[need] for unit in group.units for need in unit.needs}
        needs.discard(number)
        block = plan.blocks.add(
            block_id=number,
            stage=1 + max((plan.blocks[need].stage for need in needs), default=-1),
            fragments=[n for unit in group.units for n in unit.tasks],
            fresh_wires=use.fresh,
            reads=sorted(use.reads),
            writes=sorted(use.writes),
            dependencies=sorted(needs),
            readout=all(unit.readout for unit in group.units),
            state_bytes=use.peak,
            executor=state.EXECUTOR_KIND_STABILIZER if use.stabilizer else state.EXECUTOR_KIND_ENSEMBLE,
        )
        stages[block.stage].append(number)
        for fragment in block.fragments:
            for step in walk.work.tasks[fragment].steps:
                block.operations.add(
                    operation=step.operation,
                    wires=step.wires,
                    fragment=fragment,
                    pairs=walk.begins.get(step.operation, ()),
                    struck=struck.get(step.operation, ()),
                    idle_ns=parts.schedule.idle.get(step.operation, ()),
                )
        block.inputs.extend(_use(touch) for touch in use.inputs)
        block.outputs.extend(_use(touch) for touch in use.outputs)
        scored, reasons = candidates.of_block(group, use)
        block.candidates.extend(_candidate(rank, item) for rank, item in enumerate(scored))
        block.exclusions.extend(pb.Exclusion(reason=r, count=c) for r, c in reasons.items())
        for touch in use.inputs:
            source = holder[touch.component, touch.position]
            if source != group.site:
                plan.state_moves.add(
                    component=touch.component,
                    position=touch.position,
                    from_node=walk.topology.sites[source].node_id,
                    to_node=walk.topology.sites[group.site].node_id,
                    bytes=touch.nbytes,
                    block=number,
                )
        for touch in use.outputs:
            holder[touch.component, touch.position] = group.site
    for stage in sorted(stages):
        plan.stages.add(blocks=stages[stage])


def _use(touch: Touch) -> pb.ComponentUse:
    return pb.ComponentUse(component=touch.component, position=touch.position, wires=touch.wires)


def _candidate(rank: int, item: Scored) -> pb.Candidate:
    return pb.Candidate(
        node_id=item.site.node_id,
        rank=rank,
        score=pb.Score(
            latency=item.latency,
            failure_risk=item.failure_risk,
            entanglement=item.entanglement,
            load=item.load,
            total=item.total,
        ),
        explanation=item.explanation,
    )


def _add_chains(plan: pb.Plan, parts: _Parts) -> None:
    for chain in parts.versions.chains:
        if chain.blocks:
            plan.chains.add(
                component=chain.component,
                wires=chain.wires,
                blocks=chain.blocks,
                merged_from=[part for part in chain.merged_from if parts.versions.chains[part].blocks],
                final=chain.final,
            )


def _add_pairs(plan: pb.Plan, parts: _Parts) -> None:
    walk = parts.walk
    ids = [site.node_id for site in walk.topology.sites]
    for change in walk.changes:
        plan.homes.add(
            wire=change.wire, node_id=ids[change.site], from_operation=change.operation, pair=change.pair
        )
    for pair in walk.pairs:
        delivery = parts.schedule.pairs[pair.number]
        errors = delivery.errors
        plan.ebits.add(
            pair=pair.number,
            wire=pair.wire,
            node_a=ids[pair.ends[0]],
            node_b=ids[pair.ends[1]],
            kind=pair.kind,
            operation=pair.operations[0],
            packet=pair.operations,
            fidelity=errors.none,
            raw_pairs=delivery.raw_pairs,
            born_ns=delivery.born,
            used_ns=delivery.used,
            error_x=errors.x,
            error_y=errors.y,
            error_z=errors.z,
            rounds=pair.rounds,
            draw=walk.begins[pair.operations[0]].index(pair.number),
        )
    order = [n for group in parts.groups for unit in group.units for n in unit.tasks]
    plan.ebit_summary.CopyFrom(
        pb.EbitSummary(
            total=len(walk.pairs),
            e_inf=len(walk.pairs),
            e_m=[
                pb.BufferedEbits(link_qubits=m, ebits=ebits.replayed(walk.pairs, order, m))
                for m in _LINK_QUBITS
            ],
            per_link=[
                pb.LinkEbits(node_a=ids[a], node_b=ids[b], ebits=count)
                for (a, b), count in ebits.per_link(walk.pairs).items()
            ],
            raw_pairs=sum(delivery.raw_pairs for delivery in parts.schedule.pairs.values()),
        )
    )


def _add_demands(plan: pb.Plan, parts: _Parts) -> None:
    walk = parts.walk
    used: dict[int, set[int]] = defaultdict(set)
    for number, group in enumerate(parts.groups):
        used[group.site].add(number)
    for site in walk.topology.sites:
        blocks = used.get(site.number, set())
        if not blocks and not walk.peaks[site.number]:
            continue
        fragments = [n for block in sorted(blocks) for n in plan.blocks[block].fragments]
        kept = sum(touch.nbytes for block in blocks for touch in parts.uses[block].outputs)
        peak = max((parts.uses[block].peak for block in blocks), default=0)
        plan.demands.add(
            node_id=site.node_id,
            data_qubits=walk.peaks[site.number],
            state_bytes=min(site.state_bytes, max(peak, kept)),
            executions=len(blocks),
            service_types=sorted({plan.fragments[n].service_type for n in fragments}),
            fragment_ids=[plan.fragments[n].fragment_id for n in sorted(fragments)],
        )


def _add_figures(plan: pb.Plan, parts: _Parts) -> None:
    plan.slices = _slices(parts)
    plan.predicted_wall_seconds = _SECONDS_PER_CALL * len(plan.stages) * plan.slices
    plan.predicted_fidelity = math.prod(fragment.predicted_fidelity for fragment in plan.fragments)
    if parts.demand.noise:
        plan.predicted_fidelity *= _idling(parts)
    for block in plan.blocks:
        best = block.candidates[0].score
        plan.score.latency += best.latency
        plan.score.failure_risk += best.failure_risk
        plan.score.entanglement += best.entanglement
        plan.score.load += best.load
        plan.score.total += best.total
    for distilled in sorted(parts.walk.unspent):
        qubit = _qubit_name(parts.walk.work.circuit, _last_qubit(parts.walk.work, distilled))
        plan.warnings.append(f"distillation of {qubit} purifies nothing: no pair is delivered for it")


def _idling(parts: _Parts) -> float:
    """Process fidelity of all waiting."""
    walk = parts.walk
    wires = {step.operation: step.wires for task in walk.work.tasks for step in task.steps}
    homes = Homes((change.wire, change.operation, change.site) for change in walk.changes)
    kept = 1.0
    for operation, waited in parts.schedule.idle.items():
        for waiting, nanoseconds in zip(wires[operation], waited, strict=True):
            site = walk.topology.sites[homes.before(waiting, operation)]
            kept *= Decay.after(nanoseconds * 1e-9, site.t1_seconds, site.t2_seconds).twirled().none
    return kept


def _last_qubit(work: Work, wire: int) -> int:
    """The qubit that a wire was when it was distilled last."""
    return next(
        fragment.qubits[fragment.wires.index(wire)]
        for fragment in reversed(work.fragments)
        if fragment.service_type == "distillation" and wire in fragment.wires
    )


def _qubit_name(circuit: Circuit, qubit: int) -> str:
    """A qubit as the user's text names it."""
    for register in circuit.qubit_registers:
        if register.offset <= qubit < register.offset + register.size:
            return f"{register.name}[{qubit - register.offset}]"
    return f"qubit {qubit}"


def _stabilizers(work: Work, topology: Topology) -> frozenset[int]:
    """Components that are kept as stabilizer states, when every node of the mesh can do that."""
    if not all(site.stabilizer for site in topology.sites):
        return frozenset()
    return stabilizer_components(work.circuit, work.components)


def _slices(parts: _Parts) -> int:
    """Slices of shots, so that the largest block fits a quarter of the memory of its node.

    A component with one history is not made smaller by fewer shots: then half of the shots need what all of them need.
    """
    shots, slices = max(1, parts.demand.shots), 1
    for group, use in zip(parts.groups, parts.uses, strict=True):
        room = parts.walk.topology.sites[group.site].state_bytes // _SHARE_OF_MEMORY
        while slices < shots and not use.fits(replace(parts.demand, shots=-(-shots // slices)), room):
            slices = min(2 * slices, shots)
    return slices
