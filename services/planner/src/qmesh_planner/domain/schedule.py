"""Model time of fragments and pairs: as soon as wires, bits and pairs allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qmesh_model.pairs import Decay, PauliWeights, distilled
from qmesh_planner.domain.placement import Pair, Walk
from qmesh_planner.domain.sequence import Group
from qmesh_planner.domain.work import Step

_DEFAULT_DURATION_NS = 1_000


@dataclass(slots=True)
class Slot:
    """When a fragment runs, in nanoseconds of model time."""

    start: int = 0
    gate: int = 0
    link_wait: int = 0
    idle: int = 0

    @property
    def end(self) -> int:
        """When it is done."""
        return self.start + self.link_wait + self.gate


@dataclass(frozen=True, slots=True)
class Delivery:
    """A pair as it is used.

    Attributes:
        born: when it is there, in nanoseconds of model time.
        used: when its first operation begins.
        errors: Pauli error that it leaves, after purification and decay.
        raw_pairs: mean number of pairs of the link behind it.
    """

    born: int
    used: int
    errors: PauliWeights
    raw_pairs: float


@dataclass(slots=True)
class Schedule:
    """Times of everything.

    Attributes:
        slots: by task.
        pairs: by number.
        idle: how long each wire has waited before an operation, in nanoseconds of model time, where one has.
        makespan: when everything is done.
    """

    slots: list[Slot]
    pairs: dict[int, Delivery] = field(default_factory=dict)
    idle: dict[int, tuple[int, ...]] = field(default_factory=dict)
    makespan: int = 0


def schedule_of(walk: Walk, groups: Sequence[Group]) -> Schedule:
    """Walks the fragments in their order of execution.

    A pair is generated on demand: waiting is the mean 1/rate of its link for each raw pair (geometric attempts, mean 1/p;
    Barrett, Kok 2005), one after another on one link, side by side on several. Wires wait meanwhile.
    """
    work = walk.work
    slots = [Slot() for _ in work.tasks]
    schedule = Schedule(slots)
    born: dict[int, int] = {}
    free: dict[int, int] = {}
    for group in groups:
        site = walk.topology.sites[group.site]
        for number in (number for unit in group.units for number in unit.tasks):
            task, slot = work.tasks[number], slots[number]
            first = task.steps[0]
            delays = work.delays.get(first.operation, {})
            needs = [slots[need].end for need in work.fragments[number].dependencies if not task.readout]
            ready = [free.get(wire, 0) + delays.get(wire, 0) for wire in task.wires]
            slot.start = max(ready + needs)
            slot.idle = sum(slot.start - free[wire] for wire in task.wires if wire in free)
            slot.link_wait = _wait(walk, task.steps, slot.start, born)
            offer = site.offers.get(task.service_type)
            duration = offer.duration_ns if offer is not None else _DEFAULT_DURATION_NS
            slot.gate = duration * len(task.steps)
            begun = slot.start + slot.link_wait
            waited = tuple(begun - free[wire] if wire in free else 0 for wire in first.wires)
            if any(waited):
                schedule.idle[first.operation] = waited
            for wire in task.wires:
                free[wire] = slot.end
            schedule.makespan = max(schedule.makespan, slot.end)
    for pair in walk.pairs:
        schedule.pairs[pair.number] = _delivered(walk, pair, born[pair.number], slots)
    return schedule


def _wait(walk: Walk, steps: Sequence[Step], begin: int, born: dict[int, int]) -> int:
    """How long the pairs of a task take; notes when each is there."""
    busy: dict[tuple[int, int], int] = {}
    for step in steps:
        for number in walk.begins.get(step.operation, ()):
            pair = walk.pairs[number]
            channel = walk.channel_of(pair)
            _, raw = distilled(PauliWeights.werner(channel.fidelity), pair.rounds)
            busy[pair.ends] = busy.get(pair.ends, 0) + round(raw * 1e9 / channel.rate_hz)
            born[number] = begin + busy[pair.ends]
    return max(busy.values(), default=0)


def _delivered(walk: Walk, pair: Pair, born: int, slots: Sequence[Slot]) -> Delivery:
    """What a pair is when it is used: its halves decay from its birth, the far one of a cat copy until its last gate."""
    channel = walk.channel_of(pair)
    slot = slots[pair.tasks[0]]
    used = slot.start + slot.link_wait
    errors, raw = distilled(PauliWeights.werner(channel.fidelity), pair.rounds)
    last = max(used, slots[pair.tasks[-1]].end) if pair.kind == "cat" else used
    for end in pair.ends:
        site = walk.topology.sites[end]
        until = last if end == pair.far else used
        decay = Decay.after((until - born) * 1e-9, site.t1_seconds, site.t2_seconds)
        errors = errors.then(decay.twirled())
    return Delivery(born, used, errors, raw)
