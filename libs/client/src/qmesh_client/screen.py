"""Consoles and words that all views share; errors and circuit diagnostics, on stderr."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qmesh_model.diagnostics import Diagnostic, drawn

_PIPE_WIDTH = 100


def out() -> Console:
    """Standard output; as wide as the terminal, as `COLUMNS` says, or 100 columns where it is a file or a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = _PIPE_WIDTH
    return console


def err() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False)


def table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """A table without a frame, whose cells are never cut while the width allows."""
    made = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        title=title,
        title_justify="left",
        pad_edge=False,
        title_style="bold",
    )
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=True, header_style="dim")
    return made


_REMEDIES = {
    "UNAUTHENTICATED": "set QMESH_API_KEY to a key of this mesh",
    "PARAMETERS_MISSING": "give each input its value: --parameter NAME=VALUE",
    "PARAMETERS_MISMATCH": "'qmesh validate' lists the inputs of a circuit",
}


def error(message: str) -> None:
    """What happened, and what to do next."""
    console = err()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=not console.is_terminal)


def refusal(problem: Mapping[str, Any]) -> None:
    """A problem document."""
    error(f"{problem.get('code', 'REFUSED')}: {problem.get('detail', '')}")
    entries = problem.get("errors") or []
    for entry in entries if len(entries) > 1 else []:
        where = entry.get("field") or f"line {entry.get('line')}"
        err().print(Text(f"  {where}: {entry.get('message')}"))
    if problem.get("code") in _REMEDIES:
        err().print(Text(f"  {_REMEDIES[problem['code']]}"))
    if problem.get("request_id"):
        err().print(Text(f"  request {problem['request_id']}", style="dim"))


_STYLES = {
    "title": "bold",
    "place": "blue",
    "gap": "blue",
    "source": "",
    "primary": "bold red",
    "secondary": "cyan",
}


def diagnostics(text: str, name: str, found: Sequence[Diagnostic], *, style: str = "bold red") -> None:
    """Findings with their source lines, carets and second places."""
    console = err()
    for item in found:
        for row in drawn(text, item, name):
            if row.kind == "title":
                code, _, message = row.text.partition(": ")
                line = Text.assemble((f"{code}: ", style), (message, "bold"))
            elif row.kind == "hint":
                line = Text.assemble((f"{row.margin} ", "cyan"), row.text)
            else:
                line = Text.assemble((f"{row.margin} ", "blue"), (row.text, _STYLES[row.kind]))
            line.rstrip()
            console.print(line, soft_wrap=True)


def number(value: float) -> str:
    """A number with up to four decimals, without trailing zeros."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def moment(stamp: str | None) -> str:
    """A time of day, with the date when it is not today's, in UTC."""
    if not stamp:
        return "-"
    at = datetime.fromisoformat(stamp).astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M:%S}"


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Seconds from one time to another."""
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def plural(count: int, noun: str) -> str:
    """`1 block`, `2 blocks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def operands(numbers: Sequence[int]) -> str:
    """Qubits of one operation, in its order while they are few."""
    few = 3
    return ", ".join(f"q{n}" for n in numbers) if len(numbers) <= few else ranges(numbers)


def percent(share: float) -> str:
    """A share with one decimal, or two where it is small."""
    small = 0.01
    return f"{share:.1%}" if share >= small or share == 0 else f"{share:.2%}"


def ranges(numbers: Sequence[int]) -> str:
    """A set of qubits in few characters: `q0-q3, q7`."""
    parts: list[list[int]] = []
    for value in sorted(set(numbers)):
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ", ".join(f"q{p[0]}" if len(p) == 1 else f"q{p[0]}-q{p[-1]}" for p in parts)
