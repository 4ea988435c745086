"""Foreign text as it may be shown: short, printable, in quotation marks."""

from __future__ import annotations

from typing import Final

_MAX_QUOTED: Final = 32


def quoted(text: str) -> str:
    """A piece of foreign text, shortened and escaped, in quotation marks."""
    short = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 3] + "..."
    escaped = "".join(c if c.isprintable() and c.isascii() else f"\\u{ord(c):04x}" for c in short)
    return f"`{escaped}`"
