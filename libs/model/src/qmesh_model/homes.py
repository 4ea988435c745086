"""Where each wire is at home as a plan goes on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable


class Homes[Place]:
    """Homes by wire and operation.

    Args:
        changes: wire, first operation of the home, and the home; for each wire in their order, its first home first.
    """

    def __init__(self, changes: Iterable[tuple[int, int, Place]]) -> None:
        """Sorts the changes by wire."""
        self._since: dict[int, list[int]] = {}
        self._places: dict[int, list[Place]] = {}
        for wire, operation, place in changes:
            self._since.setdefault(wire, []).append(operation)
            self._places.setdefault(wire, []).append(place)

    def before(self, wire: int, operation: int) -> Place:
        """Home of a wire until an operation begins."""
        return self._places[wire][max(0, bisect_left(self._since[wire], operation) - 1)]
