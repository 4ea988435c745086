"""Summaries of the pairs of a plan, and its replay with few link qubits ("E-bits" in docs/execution-model.md)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from qmesh_planner.domain.placement import Pair, Walk


def per_link(pairs: Sequence[Pair]) -> dict[tuple[int, int], int]:
    """Delivered pairs by link."""
    return dict(sorted(Counter(pair.ends for pair in pairs).items()))


def struck_by(walk: Walk) -> dict[int, list[int]]:
    """Pairs whose errors act at an operation.

    Those of a cat copy act at every operation of its packet, and, when the copy has become the wire, at the next one of the wire;
    that of a teleportation at the first operation of its wire from then on.
    """
    steps: dict[int, list[int]] = {}
    for task in walk.work.tasks:
        for step in task.steps:
            for wire in step.wires:
                steps.setdefault(wire, []).append(step.operation)
    touches = {wire: sorted(operations) for wire, operations in steps.items()}
    found: dict[int, list[int]] = {}

    def strike(wire: int, since: int, pair: int) -> None:
        at = bisect_left(touches[wire], since)
        if at < len(touches[wire]):
            found.setdefault(touches[wire][at], []).append(pair)

    for pair in walk.pairs:
        if pair.kind == "cat":
            for operation in pair.operations:
                found.setdefault(operation, []).append(pair.number)
        else:
            strike(pair.wire, pair.operations[0], pair.number)
    for change in walk.changes:
        if change.copy >= 0:
            strike(change.wire, change.operation, change.copy)
    return found


def replayed(pairs: Sequence[Pair], order: Sequence[int], link_qubits: int) -> int:
    """Pairs needed when each node holds at most `link_qubits` halves at a time.

    A copy that has to give way is closed and opened again with a new pair; the one whose next use is furthest gives
    way (Belady's rule).

    Args:
        pairs: the pairs of the plan with the tasks that use them.
        order: tasks in order of execution.
        link_qubits: halves of pairs that one node can hold, at least 1.
    """
    place = {task: at for at, task in enumerate(order)}
    uses: dict[int, list[int]] = {}
    by_task: dict[int, list[Pair]] = {}
    for pair in pairs:
        uses[pair.number] = sorted(place[task] for task in pair.tasks)
        for task in pair.tasks:
            by_task.setdefault(task, []).append(pair)
    needed = 0
    opened: dict[int, Pair] = {}
    for task in order:
        now = place[task]
        opened = {number: pair for number, pair in opened.items() if uses[number][-1] >= now}
        for pair in by_task.get(task, ()):
            if pair.number in opened:
                continue
            needed += 1
            for end in pair.ends:
                here = [p for p in opened.values() if end in p.ends]
                if len(here) >= link_qubits:
                    gone = max(here, key=lambda p: (_next_use(uses[p.number], now), p.number))
                    del opened[gone.number]
            opened[pair.number] = pair
    return needed


def _next_use(uses: Sequence[int], now: int) -> int:
    return next((use for use in uses if use > now), 1 << 60)
