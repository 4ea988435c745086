"""Scores every node that could execute a block, and says why the others cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qmesh_planner.domain.placement import Walk
from qmesh_planner.domain.schedule import Schedule
from qmesh_planner.domain.sequence import Group
from qmesh_planner.domain.topology import Site
from qmesh_planner.domain.versions import Touch, Use
from qmesh_planner.domain.weights import Weights
from qmesh_planner.domain.work import Task

MOST = 4
_CALL_US = 500
_BYTES_PER_US = 200


@dataclass(frozen=True, slots=True)
class Scored:
    """A node that could execute a block, with its terms in nano-units."""

    site: Site
    latency: int
    failure_risk: int
    entanglement: int
    load: int
    explanation: tuple[str, ...]

    @property
    def total(self) -> int:
        """Sum of the terms."""
        return self.latency + self.failure_risk + self.entanglement + self.load


class Candidates:
    """Scores of one plan's blocks."""

    def __init__(self, walk: Walk, schedule: Schedule, weights: Weights) -> None:
        """Takes the placement and its times."""
        self._walk = walk
        self._schedule = schedule
        self._weights = weights
        self._holder: dict[tuple[int, int], int] = {}

    def of_block(self, group: Group, use: Use) -> tuple[list[Scored], dict[str, int]]:
        """Primary first, then fallbacks by score, at most four; and counts of the other nodes by reason."""
        tasks = [self._walk.work.tasks[number] for unit in group.units for number in unit.tasks]
        reasons = Counter(self._walk.topology.ruled_out)
        scored = []
        for site in self._walk.topology.sites:
            reason = self._reason(site, tasks, use)
            if reason and site.number != group.site:
                reasons[reason] += 1
                continue
            scored.append(self._score(site, group, tasks, use))
        scored.sort(key=lambda s: (s.site.number != group.site, s.total, s.site.node_id))
        if len(scored) > MOST:
            reasons["higher_score"] += len(scored) - MOST
        for touch in use.outputs:
            self._holder[touch.component, touch.position] = group.site
        return scored[:MOST], dict(sorted(reasons.items()))

    def _reason(self, site: Site, tasks: Sequence[Task], use: Use) -> str:
        for task in tasks:
            offer = site.offers.get(task.service_type)
            if offer is None:
                return "service_missing"
            if not offer.takes(task.operands, task.gates):
                return "operands_or_gates"
        return "memory" if use.peak > site.state_bytes or use.dense_qubits > site.dense_qubits else ""

    def _score(self, site: Site, group: Group, tasks: Sequence[Task], use: Use) -> Scored:
        weights = self._weights
        moved = [t for t in use.inputs if self._holder.get((t.component, t.position)) != site.number]
        bytes_moved = sum(touch.nbytes for touch in moved)
        transfer = sum(self._transfer_us(touch, site) for touch in moved)
        model = sum(self._model_us(task, site) for task in tasks)
        ebits, story = self._ebits(site, group, tasks)
        return Scored(
            site,
            weights.latency * (_CALL_US + site.rtt_us + transfer + model),
            weights.risk * site.failure_permille,
            weights.ebit * ebits,
            weights.load * site.load_permille,
            (
                (
                    f"one call of {_CALL_US} us and {site.rtt_us} us of round trip, {bytes_moved} bytes of amplitudes "
                    f"moved in {transfer} us, {model} us of model time"
                ),
                f"{site.failure_permille} of 1000 observed executions failed",
                f"{ebits} pairs: {story}",
                f"{site.load_permille} of 1000 parts of its time busy",
            ),
        )

    def _transfer_us(self, touch: Touch, site: Site) -> int:
        holder = self._holder.get((touch.component, touch.position))
        channel = self._walk.topology.channel(holder, site.number) if holder is not None else None
        return (channel.rtt_us if channel is not None else site.rtt_us) + touch.nbytes // _BYTES_PER_US

    def _model_us(self, task: Task, site: Site) -> int:
        offer = site.offers.get(task.service_type)
        slot = self._schedule.slots[task.number]
        gate = offer.duration_ns * len(task.steps) if offer is not None else slot.gate
        return (gate + slot.link_wait) // 1000

    def _ebits(self, site: Site, group: Group, tasks: Sequence[Task]) -> tuple[int, str]:
        walk = self._walk
        if site.number == group.site:
            count = sum(len(walk.begins.get(step.operation, ())) for task in tasks for step in task.steps)
            return count, "as the plan counts them"
        away: set[int] = set()
        local: set[int] = set()
        for task in tasks:
            if task.readout:
                continue
            for wire, home in zip(task.wires, walk.home_of_task[task.number], strict=True):
                if home != site.number:
                    (local if task.operands == 1 else away).add(wire)
        count = len(away) + 2 * len(local - away)
        return count, f"{len(away)} qubits reached from other homes, {len(local - away)} fetched and returned"
