"""Examples of the diagnostic codes, from tests/golden/codes: a text that is refused or warned of, and the same text mended.

A file's first line may give bounds lower than the default ones, as in `// with: nesting=2`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qmesh_model.budgets import Budgets
from qmesh_model.diagnostics import CircuitError, Diagnostic
from qmesh_model.parser import parse

FOLDER = Path(__file__).parents[1] / "golden" / "codes"
_WITH = "// with: "
_MENDED = "// mended:\n"


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        code: what it shows.
        text: the faulty text.
        mended: the same without the fault.
        bounds: bounds that differ from the default ones, by name.
    """

    code: str
    text: str
    mended: str
    bounds: dict[str, Any]

    def findings(self) -> list[Diagnostic]:
        """What the front end says of the faulty text."""
        try:
            return list(parse(self.text, replace(Budgets(), **self.bounds)).warnings)
        except CircuitError as error:
            return error.diagnostics

    def left(self) -> list[Diagnostic]:
        """What it says of the mended text: nothing. Time is not mended by a text, so its bound is the default one."""
        bounds = {name: value for name, value in self.bounds.items() if name != "cpu_seconds"}
        try:
            return list(parse(self.mended, replace(Budgets(), **bounds)).warnings)
        except CircuitError as error:
            return error.diagnostics


def examples() -> dict[str, Example]:
    """Examples by code."""
    return {path.stem: _example(path) for path in sorted(FOLDER.glob("*.qasm"))}


def _example(path: Path) -> Example:
    text, mended = path.read_text().split(_MENDED)
    bounds: dict[str, Any] = {}
    if text.startswith(_WITH):
        head, text = text.split("\n", 1)
        for word in head.removeprefix(_WITH).split():
            name, value = word.split("=")
            bounds[name] = type(getattr(Budgets(), name))(value)
    return Example(path.stem, text, mended, bounds)
