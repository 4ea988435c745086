"""Faults of one text as diagnostics: places in lines and columns, hints, and what a second place adds.

Responsible for collecting them, and for what can be said only with the whole text at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from qmesh_model.diagnostics import Diagnostic, Related
from qmesh_model.findings import CODES
from qmesh_model.quoting import quoted
from qmesh_model.segments import Fault, Lexer

_DECLARES: Final = re.compile(
    r"\b(?:gate|let|qreg|creg|(?:qubit|bit|(?:const|input)[ \t]++\w++)(?:[ \t]*+\[[^\]]{0,20}\])?)(?:[ \t]++|(?<=\]))\Z"
)
_WORD: Final = re.compile(r"\w")
_BEFORE_NAME: Final = 80
_OCCURRENCES: Final = 500
_FORBIDDEN: Final = re.compile("[\0\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What no text holds, comments included: NUL, halves of surrogate pairs, and marks that turn the direction of text."""
_LINE_END: Final = re.compile(r"\r\n?")


class Reports:
    """Diagnostics of one text.

    Args:
        lexer: of the text.
        most: how many are worth collecting.

    Attributes:
        diagnostics: in the order in which they were found.
    """

    def __init__(self, lexer: Lexer, most: int) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._lexer = lexer
        self._most = most

    def add(self, fault: Fault, *, in_loop: bool) -> bool:
        """Takes a fault; an echo of an earlier one is left out.

        Args:
            fault: what is wrong.
            in_loop: it stands inside of a loop.

        Returns:
            Whether nothing after it is worth reading.
        """
        if fault.code:
            if fault.code in {"QASM210", "QASM212"}:
                self._find_later(fault)
            line, column, end = self._place(fault.start, fault.end)
            hint = fault.hint or CODES[fault.code].hint
            if fault.code == "QASM215" and in_loop:
                hint = f"{hint}; a loop's range includes both ends"
            self.diagnostics.append(
                Diagnostic(
                    fault.code,
                    fault.message,
                    line,
                    column,
                    end,
                    hint=hint,
                    label=fault.label,
                    related=self._related(fault),
                )
            )
        return fault.fatal or len(self.diagnostics) >= self._most

    def warnings(self, found: Mapping[str, tuple[int, int, str]]) -> list[Diagnostic]:
        """Warnings with the places of their first occurrences."""
        return [
            Diagnostic(code, message, *self._place(start, end), CODES[code].hint)
            for code, (start, end, message) in found.items()
        ]

    def _place(self, start: int, end: int) -> tuple[int, int, int]:
        """Line, column and end column of a stretch of text, cut at the end of its line."""
        line, column = self._lexer.locate(start)
        stop = self._lexer.text.find("\n", start, end)
        return line, column, column + max(1, (end if stop < 0 else stop) - start)

    def _related(self, fault: Fault) -> tuple[Related, ...]:
        """The second place."""
        if fault.other is None:
            return ()
        start, end, label = fault.other
        return (Related(*self._place(start, end), label),)

    def _find_later(self, fault: Fault) -> None:
        """A name that is declared further down: says so, and where."""
        text, name = self._lexer.text, self._lexer.text[fault.start : fault.end]
        at = fault.end
        for _ in range(_OCCURRENCES):
            at = text.find(name, at + 1)
            if at < 0:
                return
            after = at + len(name)
            if _DECLARES.search(text[max(0, at - _BEFORE_NAME) : at]) and not _WORD.match(text, after):
                fault.hint = "declare it before it is used"
                fault.other = (at, after, "declared here, too late")
                return


def forbidden_character(text: str) -> Diagnostic | None:
    """The first character that no text holds."""
    found = _FORBIDDEN.search(text)
    if found is None:
        return None
    before = _LINE_END.sub("\n", text[: found.start()])
    column = len(before) - before.rfind("\n")
    message = f"unexpected character {quoted(found[0])}"
    hint = "remove it; a text holds no NUL, no lone surrogate and no mark that turns its direction"
    return Diagnostic("QASM200", message, before.count("\n") + 1, column, column + 1, hint)
