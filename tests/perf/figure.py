"""One measured figure with its targets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: its unit.
        target: what the design asks for; None where it asks for nothing.
        aim: what it hopes for.
        more: larger is better.
        cpu_ms: CPU of every process involved, for one operation.
        how: conditions of the measurement.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    aim: float | None = None
    more: bool = False
    cpu_ms: float | None = None
    how: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.more else self.value <= self.target

    def text(self, value: float) -> str:
        """A value with its unit."""
        digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
        return f"{value:,.{digits}f} {self.unit}".strip()

    def bound(self, value: float | None) -> str:
        """A target, with its direction."""
        return "" if value is None else f"{'≥' if self.more else '≤'} {self.text(value)}"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"met": self.met}


def quantile(values: list[float], q: float) -> float:
    """The q-quantile of unsorted values (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(q * (len(ordered) - 1)))]
