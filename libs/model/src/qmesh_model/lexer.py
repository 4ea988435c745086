"""Tokens of OpenQASM 2 and 3; one regular expression, no recursion."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from qmesh_model.circuit import Span
from qmesh_model.diagnostics import CircuitError, Diagnostic
from qmesh_model.limits import Limits

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n\f\v]+|//[^\n]*|/\*.*?\*/)
    |(?P<string>"[^"\n]*")
    |(?P<float>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
    |(?P<int>\d+)
    |(?P<name>[A-Za-z_\u03c0\u03c4\u2107][A-Za-z0-9_]*)
    |(?P<op>->|==|!=|<=|>=|&&|\|\||\*\*|\+\+|[-+*/^%<>=!&|~()\[\]{},;:@\#$])""",
    re.VERBOSE | re.DOTALL,
)
END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: kind is string, float, int, name, op or end."""

    kind: str
    text: str
    offset: int


class Source:
    """A text with the places of its lines."""

    def __init__(self, text: str) -> None:
        """Takes the text."""
        self.text = text
        self._starts = [0] + [m.end() for m in re.finditer(r"\n", text)]

    def span(self, start: int, end: int) -> Span:
        """Place of a piece of one line."""
        line = bisect_right(self._starts, start)
        column = start - self._starts[line - 1] + 1
        return Span(line, column, max(column + 1, column + end - start))

    def of_token(self, token: Token) -> Span:
        """Place of a token."""
        return self.span(token.offset, token.offset + max(1, len(token.text)))

    def finding(self, code: str, message: str, start: int, end: int, hint: str = "") -> Diagnostic:
        """A diagnostic for a piece of the text."""
        span = self.span(start, end)
        return Diagnostic(code, message, span.line, span.column, span.end_column, hint)


def visible(text: str, longest: int = 32) -> str:
    """Foreign text as it may be shown: printable ASCII, short."""
    safe = "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in text[:longest])
    return safe + ("..." if len(text) > longest else "")


def tokenize(source: Source, limits: Limits) -> list[Token]:
    """All tokens, an end token last.

    Raises:
        CircuitError: a character that cannot begin a token, or a token above its limit.
    """
    tokens: list[Token] = []
    text, position, size = source.text, 0, len(source.text)
    match = _TOKEN.match
    while position < size:
        found = match(text, position)
        if found is None:
            raise CircuitError([_illegal(source, position)])
        kind = found.lastgroup or ""
        if kind != "skip":
            token = Token(kind, found.group(), position)
            if kind in {"int", "name", "float"}:
                _bounded(source, token, limits)
            tokens.append(token)
        position = found.end()
    tokens.append(Token(END, "", size))
    return tokens


def _bounded(source: Source, token: Token, limits: Limits) -> None:
    length = len(token.text)
    end = token.offset + length
    if token.kind == "int" and length > limits.integer_digits:
        message = f"an integer has at most {limits.integer_digits} digits, this one has {length}"
        raise CircuitError([source.finding("MESH106", message, token.offset, end)])
    if token.kind == "name" and length > limits.identifier:
        message = f"a name has at most {limits.identifier} characters, this one has {length}"
        raise CircuitError([source.finding("MESH105", message, token.offset, end)])
    if token.kind == "float" and length > limits.identifier:
        message = f"a number has at most {limits.identifier} characters, this one has {length}"
        raise CircuitError([source.finding("MESH106", message, token.offset, end)])


def _illegal(source: Source, position: int) -> Diagnostic:
    text = source.text
    if text.startswith("/*", position):
        return source.finding("QASM204", "this comment does not end", position, position + 2, "add */")
    if text[position] == '"':
        return source.finding("QASM204", "this string does not end", position, position + 1, 'add " on its line')
    shown = visible(text[position])
    hint = "names and operators are plain ASCII, besides the constants pi, tau and euler"
    return source.finding("QASM205", f"'{shown}' has no meaning here", position, position + 1, hint)
