"""Statements that the front end knows and refuses by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qmesh_model.findings import CODES
from qmesh_model.segments import Fault, Segment

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "while": ("QASM300", "write the repetitions out"),
    "def": ("QASM301", "use `gate` for unitary parts"),
    "return": ("QASM301", "use `gate` for unitary parts"),
    "extern": ("QASM302", "compute the value before submitting"),
    "cal": ("QASM303", "remove the calibration"),
    "defcal": ("QASM303", "remove the calibration"),
    "defcalgrammar": ("QASM303", "remove the calibration"),
    "box": ("QASM304", "remove the box; use `barrier` and `delay`"),
    "stretch": ("QASM304", "use `delay` with a number"),
    "duration": ("QASM304", "use `delay` with a number"),
    "durationof": ("QASM304", "use `delay` with a number"),
    "output": ("QASM311", "all bit registers are output"),
    "switch": ("QASM313", "use `if` and `else`"),
    "case": ("QASM313", "use `if` and `else`"),
    "default": ("QASM313", "use `if` and `else`"),
    "break": ("QASM313", "remove it"),
    "continue": ("QASM313", "remove it"),
    "end": ("QASM313", "remove what follows it"),
    "opaque": ("QASM222", "define it with `gate`"),
} | dict.fromkeys(
    ("int", "uint", "float", "angle", "complex", "bool", "array", "readonly", "mutable", "void"),
    ("QASM310", "use `const`, or an `input` of type float or angle"),
)

REFUSED: Final = frozenset(_WORDS)
"""First words of the statements that are refused by name."""


def declared(segment: Segment) -> set[str]:
    """Names that a refused statement would have declared; using them is no further error."""
    found = set()
    for kind, text in list(zip(segment.kinds, segment.texts, strict=True))[1:]:
        if kind in {"=", "{", ";"}:
            break
        if kind == "id":
            found.add(text)
    return found


def refuse(segment: Segment) -> Fault:
    """The fault for a statement that begins with one of `REFUSED`."""
    code, hint = _WORDS[segment.text]
    title = CODES[code].title
    message = title if f"`{segment.text}`" in title else f"{title}: `{segment.text}`"
    return Fault(code, message, segment.start, segment.end, hint=hint)
