"""Orders fragments and gathers them into blocks: what one node executes in one call."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from qmesh_model.errors import MeshError
from qmesh_planner.domain.placement import Walk
from qmesh_planner.domain.work import Work

_LOOK_AHEAD = 400


@dataclass(frozen=True, slots=True)
class Unit:
    """Fragments that stay together: one fragment, or the joint readout of a component."""

    number: int
    tasks: tuple[int, ...]
    site: int
    needs: frozenset[int]
    readout: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Units that one node executes one after another."""

    site: int
    units: tuple[Unit, ...]


def groups_of(walk: Walk) -> list[Group]:
    """All units, in an order that respects every dependency, gathered by node as far as that goes.

    Raises:
        MeshError: INTERNAL, when the dependencies have a cycle.
    """
    units = _units(walk)
    followers: dict[int, list[int]] = defaultdict(list)
    missing = {}
    for unit in units:
        missing[unit.number] = len(unit.needs)
        for need in unit.needs:
            followers[need].append(unit.number)
    ready: dict[int, list[int]] = defaultdict(list)
    for unit in units:
        if not missing[unit.number]:
            heapq.heappush(ready[unit.site], unit.number)
    groups = []
    while any(ready.values()):
        site = _next_site(units, ready, missing, followers)
        taken = []
        while ready[site]:
            number = heapq.heappop(ready[site])
            taken.append(units[number])
            for follower in followers[number]:
                missing[follower] -= 1
                if not missing[follower]:
                    heapq.heappush(ready[units[follower].site], follower)
        groups.append(Group(site, tuple(taken)))
    if any(missing.values()):
        raise MeshError("INTERNAL", "the fragments of this circuit cannot be put in an order")
    return groups


def _next_site(
    units: Sequence[Unit],
    ready: dict[int, list[int]],
    missing: dict[int, int],
    followers: dict[int, list[int]],
) -> int:
    """The site that can execute most without anybody else."""
    sites = [site for site, waiting in ready.items() if waiting]
    if len(sites) == 1:
        return sites[0]
    if len(units) > _LOOK_AHEAD:
        return min(sites, key=lambda s: (-len(ready[s]), ready[s][0]))

    def reach(site: int) -> int:
        left: dict[int, int] = {}
        queue = list(ready[site])
        for number in queue:
            for follower in followers[number]:
                if units[follower].site == site:
                    left[follower] = left.get(follower, missing[follower]) - 1
                    if not left[follower]:
                        queue.append(follower)
        return len(queue)

    return min(sites, key=lambda s: (-reach(s), ready[s][0]))


def _units(walk: Walk) -> list[Unit]:
    work = walk.work
    needs = _edges(work, walk.moving)
    unit_of: dict[int, int] = {}
    parts: list[tuple[tuple[int, ...], bool]] = []
    for task in work.tasks:
        if not task.readout:
            unit_of[task.number] = len(parts)
            parts.append(((task.number,), False))
    of_component: dict[int, tuple[int, ...]] = {}
    for component in work.components.all:
        if component.final and component.readout:
            tasks = tuple(t.number for t in work.tasks if t.readout and t.wires[0] in component.wires)
            of_component[component.number] = tasks
            parts.append((tasks, True))
    units = []
    for number, (tasks, readout) in enumerate(parts):
        wanted: set[int] = set()
        if readout:
            wires = set(work.tasks[tasks[0]].wires) | _wires_of(work, tasks)
            wanted = {
                unit_of[t.number] for t in work.tasks if not t.readout and not wires.isdisjoint(t.wires)
            }
        for member in tasks:
            wanted |= {unit_of[need] for need in needs[member] if need in unit_of}
        units.append(Unit(number, tasks, walk.executing[tasks[0]], frozenset(wanted - {number}), readout))
    return units


def _wires_of(work: Work, tasks: Sequence[int]) -> set[int]:
    """All wires of the component that these readouts belong to."""
    operation = work.fragments[tasks[0]].operations[0]
    return set(work.components.all[work.components.of_operation[operation]].wires)


def _edges(work: Work, moving: Sequence[int]) -> list[set[int]]:
    """Needs of each fragment: those of the circuit, and those that keep components and homes as planned."""
    of_operation = {index: f.number for f in work.fragments for index in f.operations}
    needs = [set(f.dependencies) for f in work.fragments]
    for component in work.components.all:
        if component.merged_from:  # everything on the parts happens before they merge
            merge = of_operation[component.operations[0]]
            for part in component.merged_from:
                needs[merge] |= {of_operation[i] for i in work.components.all[part].operations}
            for index in component.operations[
                1:
            ]:  # and what would merge other parts in its place comes after
                fragment = work.fragments[of_operation[index]]
                if len(fragment.wires) > 1 and fragment.operations[0] == index:
                    needs[fragment.number].add(merge)
    last: dict[int, int] = {}
    final = _finals(work)
    for operation in work.circuit.operations:
        if operation.collapses and operation.index in of_operation:
            root = final[work.components.of_operation[operation.index]]
            here = of_operation[operation.index]
            if root in last:  # collapses of one component stay in the order of the circuit
                needs[here].add(last[root])
            last[root] = here
    for before, after in pairwise(moving):  # homes change in the order that was counted
        needs[after].add(before)
    for number, own in enumerate(needs):
        own.discard(number)
    return needs


def _finals(work: Work) -> list[int]:
    """The component that each one ends up in."""
    final = list(range(len(work.components.all)))
    for component in reversed(work.components.all):
        for part in component.merged_from:
            final[part] = final[component.number]
    return final
