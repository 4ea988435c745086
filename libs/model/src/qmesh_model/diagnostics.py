"""What is wrong with a circuit: code, place, sentence, hint; drawn with its source line and a caret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_DIAGNOSTICS = 20


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding; lines and columns count from 1, `end_column` is exclusive."""

    code: str
    message: str
    line: int
    column: int
    end_column: int
    hint: str = ""
    label: str = ""


class CircuitError(Exception):
    """A circuit that cannot be understood; carries every finding, at least one."""

    code = "CIRCUIT_INVALID"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Takes the findings in the order of the text."""
        first = diagnostics[0]
        super().__init__(f"{first.code} at line {first.line}, column {first.column}: {first.message}")
        self.diagnostics = list(diagnostics)
        self.message = str(self)


def render(text: str, diagnostics: Sequence[Diagnostic], name: str = "circuit") -> str:
    """Findings with their source lines and carets, as plain text."""
    lines = text.splitlines()
    parts = []
    for item in diagnostics:
        source = lines[item.line - 1] if 0 < item.line <= len(lines) else ""
        gutter = " " * len(str(item.line))
        pad = "".join("\t" if c == "\t" else " " for c in source[: item.column - 1])
        caret = "^" * max(1, item.end_column - item.column)
        label = f" {item.label}" if item.label else ""
        parts.append(
            f"{item.code}: {item.message}\n{gutter}--> {name}:{item.line}:{item.column}\n{gutter} |\n"
            f"{item.line} | {source}\n{gutter} | {pad}{caret}{label}"
        )
        if item.hint:
            parts[-1] += f"\n{gutter} = hint: {item.hint}"
    return "\n\n".join(parts) + "\n"
