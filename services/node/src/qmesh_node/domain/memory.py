"""Bytes of amplitudes that a node may hold: stored versions and the components of blocks that run, together."""

from __future__ import annotations

import threading

from qmesh_node.domain.errors import ExhaustedError


class Memory:
    """One limit for everything; asked before anything is allocated.

    What a kernel needs for a moment comes on top: at most the size of the component that it changes. Blocks run in
    threads, hence the lock.
    """

    def __init__(self, limit: int) -> None:
        """Takes the number of bytes."""
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes taken now."""
        return self._used

    @property
    def free(self) -> int:
        """Bytes that may still be taken."""
        return max(0, self._limit - self._used)

    def change(self, difference: int, what: str) -> None:
        """Takes bytes, or gives them back.

        Raises:
            ExhaustedError: there are not so many.
        """
        with self._lock:
            if difference > 0 and self._used + difference > self._limit:
                raise ExhaustedError(
                    f"{what} needs {difference} bytes more, above the {self.free} bytes that are free"
                )
            self._used += difference

    def workspace(self) -> Workspace:
        """Room for one block that runs."""
        return Workspace(self)


class Workspace:
    """What one block holds while it runs: the size of each component that it made."""

    def __init__(self, memory: Memory) -> None:
        """Takes the memory that is shared with everybody."""
        self._memory = memory
        self._sizes: dict[int, int] = {}
        self._total = 0

    def resize(self, component: int, size: int, instead_of: tuple[int, ...] = ()) -> None:
        """Notes the size that a component is about to have, and components that it replaces.

        Raises:
            ExhaustedError: it does not fit.
        """
        before = sum(self._sizes.get(number, 0) for number in {component, *instead_of})
        self._memory.change(size - before, f"a component of {size} bytes")
        self._total += size - before
        for number in instead_of:
            self._sizes.pop(number, None)
        self._sizes[component] = size

    def close(self) -> None:
        """Gives everything back."""
        self._memory.change(-self._total, "the end of a block")
        self._sizes.clear()
        self._total = 0
