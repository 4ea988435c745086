"""Foreign text as it may be shown: short, printable, in quotation marks."""

from __future__ import annotations

from typing import Final

GREEK: Final = "\u00b5αβγδεζηθκλμξρστφχψω"  # noqa: RUF001 - these letters are what is meant
"""Letters besides ASCII that names may hold: Greek ones that no Latin letter looks like, and the micro sign."""

_MAX_QUOTED: Final = 32
_SHOWN: Final = frozenset(f"{GREEK}πℇ")


def quoted(text: str) -> str:
    """A piece of foreign text, shortened and escaped, in quotation marks."""
    short = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 3] + "..."
    escaped = "".join(
        c if (c.isprintable() and c.isascii()) or c in _SHOWN else f"\\u{ord(c):04x}" for c in short
    )
    return f"`{escaped}`"
