"""What is wrong with a circuit: code, place, sentence, hint; drawn with its source lines and carets, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

MAX_DIAGNOSTICS: Final = 20
_WIDEST: Final = 120
_BEFORE: Final = 60
_CUT: Final = "..."


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that matters, with what is there; counted as in `Diagnostic`."""

    line: int
    column: int
    end_column: int
    label: str


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
    related: tuple[Related, ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "code": self.code,
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "end_column": self.end_column,
            "label": self.label,
            "hint": self.hint,
            "related": [
                {"line": r.line, "column": r.column, "end_column": r.end_column, "label": r.label}
                for r in self.related
            ],
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Diagnostic:
        """A finding from its JSON."""
        column = int(document["column"])
        return cls(
            code=str(document["code"]),
            message=str(document["message"]),
            line=int(document["line"]),
            column=column,
            end_column=int(document.get("end_column") or column + 1),
            hint=str(document.get("hint") or ""),
            label=str(document.get("label") or ""),
            related=tuple(
                Related(int(r["line"]), int(r["column"]), int(r["end_column"]), str(r["label"]))
                for r in document.get("related") or ()
            ),
        )


class CircuitError(Exception):
    """A circuit that cannot be understood; carries every finding, at least one."""

    code = "CIRCUIT_INVALID"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Takes the findings in the order of the text."""
        first = diagnostics[0]
        super().__init__(f"{first.code} at line {first.line}, column {first.column}: {first.message}")
        self.diagnostics = list(diagnostics)
        self.message = str(self)


class Row(NamedTuple):
    """One drawn row: what it is, what stands in the margin, and the text."""

    kind: Literal["title", "place", "source", "primary", "secondary", "hint", "gap"]
    margin: str
    text: str


def drawn(text: str, diagnostic: Diagnostic, name: str = "circuit") -> list[Row]:
    """A finding with its source lines, carets under its place, dashes under related ones."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    marks = [(diagnostic.line, diagnostic.column, diagnostic.end_column, diagnostic.label, True)]
    marks += [(r.line, r.column, r.end_column, r.label, False) for r in diagnostic.related]
    width = len(str(max(mark[0] for mark in marks)))
    blank = " " * width
    rows = [
        Row("title", "", f"{diagnostic.code}: {diagnostic.message}"),
        Row("place", f"{blank}-->", f"{name}:{diagnostic.line}:{diagnostic.column}"),
        Row("gap", f"{blank} |", ""),
    ]
    before = 0
    for line in sorted({mark[0] for mark in marks}):
        if before and line > before + 1:
            rows.append(Row("gap", _CUT, ""))
        before = line
        here = sorted((mark for mark in marks if mark[0] == line), key=lambda mark: not mark[4])
        source, shift = _window(lines[line - 1] if 0 < line <= len(lines) else "", here[0][1])
        rows.append(Row("source", f"{line:>{width}} |", source))
        for _, column, end, label, primary in here:
            start = min(max(0, column - 1 - shift), len(source))
            stop = min(max(start + 1, end - 1 - shift), len(source) + 1)
            under = ("^" if primary else "-") * max(1, stop - start)
            mark = " " * start + under + (f" {label}" if label else "")
            rows.append(Row("primary" if primary else "secondary", f"{blank} |", mark))
    if diagnostic.hint:
        rows.append(Row("hint", f"{blank} = hint:", diagnostic.hint))
    return rows


def _window(source: str, column: int) -> tuple[str, int]:
    """A source line as it can be shown, one character for each of its own, and how many are left out before."""
    shown = "".join(c if c.isprintable() else (" " if c == "\t" else "\ufffd") for c in source)
    if len(shown) <= _WIDEST:
        return shown, 0
    first = max(0, min(column - 1 - _BEFORE, len(shown) - _WIDEST))
    part = shown[first : first + _WIDEST]
    if first:
        part = _CUT + part[len(_CUT) :]
    return (part[: -len(_CUT)] + _CUT if first + _WIDEST < len(shown) else part), first


def render(text: str, diagnostics: Sequence[Diagnostic], name: str = "circuit") -> str:
    """Findings as plain text."""
    parts = [
        "\n".join(
            f"{row.margin} {row.text}".rstrip() if row.margin else row.text for row in drawn(text, item, name)
        )
        for item in diagnostics
    ]
    return "\n\n".join(parts) + "\n"
