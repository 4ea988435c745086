"""Slices of shots: those of a plan, and the halves of one that a node has no memory for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

_HALVINGS = 6
"""A slice of a plan is divided by 64 at most: a component with one history is not made smaller by fewer shots."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive shots. Slices of a plan have the indices below their number; each half has an index of its own above."""

    index: int
    first: int
    shots: int

    def halves(self, slices: int) -> tuple[Slice, Slice] | None:
        """Two smaller slices; None when that is too small, or it was halved too often. `slices`: those of the plan."""
        if self.shots < 2 or self._depth(slices) >= _HALVINGS:  # noqa: PLR2004 - one shot has no halves
            return None
        half, index = (self.shots + 1) // 2, slices + 2 * self.index
        return Slice(index, self.first, half), Slice(index + 1, self.first + half, self.shots - half)

    def _depth(self, slices: int) -> int:
        depth, index = 0, self.index
        while index >= slices:
            index = parent(index, slices)
            depth += 1
        return depth


def parent(index: int, slices: int) -> int:
    """Index of the slice that one with an index of at least `slices` is a half of."""
    return (index - slices) // 2


def slices_of(shots: int, slices: int, seen: Collection[int] = ()) -> list[Slice]:
    """The slices of a plan, in order of their shots; their sizes differ by one at most.

    Args:
        shots: of the job.
        slices: of the plan, at least 1 and at most `shots`.
        seen: indices that an earlier owner of the job has recorded; what was halved to come to them is halved again.
    """
    size, more = divmod(shots, slices)
    halved: set[int] = set()
    for index in seen:
        while index >= slices:
            index = parent(index, slices)  # noqa: PLW2901 - up to a slice of the plan
            halved.add(index)
    result: list[Slice] = []
    first = 0
    for index in range(slices):
        count = size + (1 if index < more else 0)
        _add(Slice(index, first, count), slices, halved, result)
        first += count
    return result


def _add(whole: Slice, slices: int, halved: Collection[int], result: list[Slice]) -> None:
    halves = whole.halves(slices) if whole.index in halved else None
    if halves is None:
        result.append(whole)
        return
    for half in halves:
        _add(half, slices, halved, result)
