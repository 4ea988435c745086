"""How busy a node was in the last seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 10.0


@dataclass(slots=True)
class LoadMeter:
    """Executions that run now, and the busy fraction of the window."""

    active: int = 0
    _spans: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, start: float, end: float) -> None:
        """Notes one execution."""
        self._spans.append((start, end))
        self._trim(end)

    def busy(self, now: float) -> float:
        """Fraction of the window spent computing, at most 1."""
        self._trim(now)
        since = now - WINDOW_SECONDS
        return min(1.0, sum(end - max(start, since) for start, end in self._spans) / WINDOW_SECONDS)

    def _trim(self, now: float) -> None:
        while self._spans and self._spans[0][1] < now - WINDOW_SECONDS:
            self._spans.popleft()
