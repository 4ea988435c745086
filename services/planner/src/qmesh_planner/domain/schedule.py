"""Model time of fragments and pairs: as soon as wires, bits and pairs allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qmesh_planner.domain.placement import Walk
from qmesh_planner.domain.sequence import Group
from qmesh_planner.domain.work import Step

_DEFAULT_DURATION_NS = 1_000


@dataclass(slots=True)
class Slot:
    """When a fragment runs, in nanoseconds of model time; `wire_idle`: how long each of its wires waits before, for pairs too."""

    start: int = 0
    gate: int = 0
    link_wait: int = 0
    idle: int = 0
    wire_idle: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """When it is done."""
        return self.start + self.link_wait + self.gate


@dataclass(slots=True)
class Schedule:
    """Times of everything; pairs as (born, first used)."""

    slots: list[Slot]
    pairs: dict[int, tuple[int, int]] = field(default_factory=dict)
    makespan: int = 0


def schedule_of(walk: Walk, groups: Sequence[Group]) -> Schedule:
    """Walks the fragments in their order of execution.

    A pair is generated on demand: waiting is the mean 1/rate of its link for each raw pair (geometric attempts, mean 1/p; Barrett, Kok
    2005), one after another on one link, side by side on several.
    """
    work = walk.work
    slots = [Slot() for _ in work.tasks]
    schedule = Schedule(slots)
    free: dict[int, int] = {}
    for group in groups:
        site = walk.topology.sites[group.site]
        for unit in group.units:
            begin = 0
            for number in unit.tasks:
                task, slot = work.tasks[number], slots[number]
                needs = [slots[need].end for need in work.fragments[number].dependencies if not task.readout]
                begin = max([free.get(wire, 0) for wire in task.wires] + needs, default=0)
                slot.start = begin
                slot.idle = sum(begin - free[wire] for wire in task.wires if wire in free)
                slot.link_wait = _wait(walk, task.steps, begin, schedule)
                slot.wire_idle = tuple(begin - free.get(wire, begin) + slot.link_wait for wire in task.wires)
                offer = site.offers.get(task.service_type)
                duration = offer.duration_ns if offer is not None else _DEFAULT_DURATION_NS
                slot.gate = duration * len(task.steps)
                for wire in task.wires:
                    free[wire] = slot.end
                schedule.makespan = max(schedule.makespan, slot.end)
    return schedule


def _wait(walk: Walk, steps: Sequence[Step], begin: int, schedule: Schedule) -> int:
    busy: dict[tuple[int, int], int] = {}
    for step in steps:
        for number in walk.begins.get(step.operation, ()):
            pair = walk.pairs[number]
            channel = walk.topology.channel(*pair.ends)
            delivery = round(walk.delivered(pair)[1] * 1e9 / channel.rate_hz) if channel is not None else 0
            busy[pair.ends] = busy.get(pair.ends, 0) + delivery
            schedule.pairs[number] = (begin + busy[pair.ends] - delivery, begin + busy[pair.ends])
    return max(busy.values(), default=0)
