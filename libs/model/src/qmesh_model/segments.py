"""Text to tokens, one statement at a time, so that memory does not grow with the text.

Responsible for characters, comments, numbers and the split into segments; not for grammar.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from qmesh_model.budgets import Budgets
from qmesh_model.quoting import GREEK, quoted

_SKIP: Final = re.compile(r"(?:[ \t\n]++|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+")
_EMPTY: Final = re.compile(r"[ \t\n]*+;[ \t\n;]*+")
_TOKEN: Final = re.compile(
    rf"""(?:[ \t\n]++|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+(?:
      ([A-Za-z_{GREEK}π][A-Za-z0-9_{GREEK}π]*+|ℇ)
    | ([0-9]++\.[0-9]*+(?:[eE][+-]?[0-9]++)?+ | \.[0-9]++(?:[eE][+-]?[0-9]++)?+ | [0-9]++[eE][+-]?[0-9]++)
    | (0[xX][0-9a-fA-F_]++ | 0[oO][0-7_]++ | 0[bB][01_]++ | [0-9]++(?:_[0-9]++)*+)
    | ("[^"\n]*+")
    | (->|==|!=|<=|>=|&&|\|\||\*\*|\+\+|<<|>>|/(?!\*)|[-+*%^=<>!~&|@.,:;()\[\]{{}}\#$])
    )""",
    re.VERBOSE,
)
_NEWLINE: Final = re.compile("\n")
_KINDS: Final = ("", "id", "float", "int", "str")
_INTEGER: Final = 3
_OPERATOR: Final = 5
_PLAIN_OPERATORS: Final = frozenset(
    {"->", "==", "!=", "<=", ">=", "&&", "||", "**", "++", "<<", ">>", "-", "+", "*", "/", "%", "^", "=", "<", ">", "!", "~", "&", "|", "@", ".", ",", ":", "(", ")", "#", "$"}
)  # fmt: skip
_KEPT_TOKENS: Final = 20_000
_BASES: Final = {"0x": 16, "0o": 8, "0b": 2}
_SET_BEFORE: Final = frozenset({"in", "=", "["})


class Fault(Exception):  # noqa: N818 - a fault of the text, caught inside of the front end
    """One error at one place of the text; becomes a diagnostic. An empty code is an echo of an earlier error.

    Args:
        code: stable code.
        message: what is wrong.
        start: offset of the first character at fault.
        end: offset after the last.
        hint: how to mend it.
        label: text under the caret.
        other: offsets and label of a second place.
        fatal: nothing after it is worth reading.
    """

    def __init__(
        self,
        code: str,
        message: str,
        start: int,
        end: int,
        *,
        hint: str = "",
        label: str = "",
        other: tuple[int, int, str] | None = None,
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
        self.label = label
        self.other = other
        self.fatal = fatal


@dataclass(slots=True)
class Segment:
    """Tokens up to and with the next `;`, `{` or `}`, with a cursor.

    Attributes:
        kinds: "id", "int", "float", "str", or the operator itself; the last one may be "" for the end of text.
        texts: text of each token.
        starts: offset of each token.
        source: the whole text.
        fault: first error of the tokens, if any.
        at: cursor.
    """

    kinds: list[str]
    texts: list[str]
    starts: list[int]
    source: str = ""
    fault: Fault | None = None
    at: int = 0

    @property
    def kind(self) -> str:
        """Kind of the token at the cursor."""
        return self.kinds[self.at]

    @property
    def text(self) -> str:
        """Text of the token at the cursor."""
        return self.texts[self.at]

    @property
    def start(self) -> int:
        """Offset of the token at the cursor."""
        return self.starts[self.at]

    @property
    def end(self) -> int:
        """Offset after the token at the cursor."""
        return self.starts[self.at] + max(1, len(self.texts[self.at]))

    @property
    def last_end(self) -> int:
        """Offset after the token before the cursor."""
        before = max(0, self.at - 1)
        return self.starts[before] + len(self.texts[before])

    def accept(self, kind: str) -> bool:
        """Steps over a token of this kind if it is next; never over the last one."""
        if self.kinds[self.at] != kind:
            return False
        if self.at < len(self.kinds) - 1:
            self.at += 1
        return True

    def take(self) -> str:
        """Steps over the token at the cursor and returns its text."""
        text = self.texts[self.at]
        if self.at < len(self.kinds) - 1:
            self.at += 1
        return text

    def expect(self, kind: str, what: str, *, hint: str = "") -> str:
        """Steps over a token of this kind and returns its text.

        Raises:
            Fault: when another token stands here.
        """
        if self.kinds[self.at] != kind:
            raise self.unexpected(what, hint=hint)
        return self.take()

    def unexpected(self, what: str, *, hint: str = "") -> Fault:
        """The fault that says what should stand at the cursor."""
        found = "the end of the text" if not self.kind else quoted(self.text)
        return Fault("QASM202", f"expected {what}, found {found}", self.start, self.end, hint=hint)

    def finish(self) -> None:
        """Checks that the statement ends at the cursor.

        Raises:
            Fault: when something follows, or the semicolon is missing.
        """
        if self.kinds[self.at] == ";":
            return
        same_line = "\n" not in self.source[self.last_end : self.start]
        if self.kind == "id" and same_line and self.texts[max(0, self.at - 1)] == "]":
            raise self.unexpected("`,` or `;`", hint="put `,` between operands, and `;` after the statement")
        if self.kind in {"", "}", "id"}:
            raise Fault(
                "QASM203",
                "the statement does not end with `;`",
                self.last_end - 1,
                self.last_end,
                label="add `;` after this",
            )
        raise self.unexpected("`;`")


class Lexer:
    """Reads segments from a text whose line ends are LF.

    Attributes:
        text: the text.
        position: offset of the next segment.
        repeating: whether text may be read again, so that its segments are worth keeping.
    """

    def __init__(self, text: str, limits: Budgets, *, position: int = 0) -> None:
        self.text = text
        self.limits = limits
        self.position = position
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self._line_starts: array[int] | None = None
        self.repeating = False
        self._kept: dict[int, tuple[Segment, int]] = {}
        self._room = _KEPT_TOKENS

    def locate(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, from 1; cheapest when offsets ascend."""
        if self._line_starts is None and offset < self._counted:
            self._line_starts = array("I", (0,))
            self._line_starts.extend(found.end() for found in _NEWLINE.finditer(self.text))
        if self._line_starts is not None:
            line = bisect_right(self._line_starts, offset)
            return line, offset - self._line_starts[line - 1] + 1
        lines = self.text.count("\n", self._counted, offset)
        if lines:
            self._line += lines
            self._line_start = self.text.rfind("\n", self._counted, offset) + 1
        self._counted = offset
        return self._line, offset - self._line_start + 1

    def skip_blank(self) -> int:
        """Steps over blanks and comments; the offset after them."""
        found = _SKIP.match(self.text, self.position)
        self.position = found.end() if found else self.position
        return self.position

    def skip_empty(self) -> None:
        """Steps over empty statements."""
        found = _EMPTY.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def next_line(self, offset: int) -> None:
        """Puts the cursor at the beginning of the line after an offset."""
        end = self.text.find("\n", offset)
        self.position = len(self.text) if end < 0 else end + 1

    def segment(self) -> Segment | None:
        """The next segment; None at the end of the text. Never raises: faults stand in the segment."""
        if self.repeating:
            kept = self._kept.get(self.position)
            if kept is not None:
                segment, self.position = kept
                return Segment(segment.kinds, segment.texts, segment.starts, self.text, segment.fault)
        begin = self.position
        made = self._read()
        if self.repeating and made is not None and self._room > 0:
            self._room -= len(made.kinds)
            self._kept[begin] = (made, self.position)
        return made

    def _read(self) -> Segment | None:  # noqa: C901, PLR0912 - one loop over characters, kept whole for speed
        kinds: list[str] = []
        texts: list[str] = []
        starts: list[int] = []
        segment = Segment(kinds, texts, starts, self.text)
        identifier = self.limits.identifier
        position, brackets, braces, ended = self.position, 0, 0, False
        while not ended:
            for found in iter(_TOKEN.scanner(self.text, position).match, None):  # type: ignore[attr-defined]
                group = found.lastindex
                word = found[group]
                position = found.end()
                start = position - len(word)
                if group != _OPERATOR:
                    kinds.append(_KINDS[group])
                    texts.append(word)
                    starts.append(start)
                    if (group == _INTEGER or len(word) > identifier) and len(
                        word
                    ) > self.limits.integer_digits:
                        self._check(segment, group, word)
                    continue
                set_before = word == "{" and texts and texts[-1] in _SET_BEFORE
                kinds.append(word)
                texts.append(word)
                starts.append(start)
                if word in _PLAIN_OPERATORS:
                    continue
                if word == ";":
                    ended = True
                elif word == "[":
                    brackets += 1
                elif word == "]":
                    brackets -= 1
                elif word == "{":
                    if brackets > 0 or set_before:
                        braces += 1
                    else:
                        ended = True
                elif braces > 0:
                    braces -= 1
                else:
                    ended = True
                if ended:
                    break
            if not ended:
                position = self._stuck(position, segment)
                ended = position >= len(self.text)
        self.position = position
        if not kinds and segment.fault is None:
            return None
        if not kinds or kinds[-1] not in {";", "{", "}"}:
            kinds.append("")
            texts.append("")
            starts.append(max(0, starts[-1] + len(texts[-2]) - 1) if starts else max(0, position - 1))
        return segment

    def _stuck(self, position: int, segment: Segment) -> int:
        """What stands where no token begins: the end, or a fault; the offset to go on from."""
        blank = _SKIP.match(self.text, position)
        at = blank.end() if blank else position
        if at >= len(self.text):
            return at
        character = self.text[at]
        if self.text.startswith("/*", at):
            fault = Fault("QASM201", "the comment has no end", at, at + 2, hint="close it with `*/`")
            at = len(self.text)
        elif character == '"':
            end = self.text.find("\n", at)
            fault = Fault("QASM201", "the string has no end", at, at + 1, hint='close it with `"`')
            at = len(self.text) if end < 0 else end
        else:
            fault = Fault(
                "QASM200", f"unexpected character {quoted(character)}", at, at + 1, hint=_advice(character)
            )
            at += 1
        segment.fault = segment.fault or fault
        return at

    def _check(self, segment: Segment, group: int, token: str) -> None:
        start = segment.starts[-1]
        end, limits = start + len(token), self.limits
        if _KINDS[group] == "id":
            if len(token) <= limits.identifier:
                return
            fault = Fault(
                "MESH105",
                f"the name has {len(token)} characters; `identifier` allows {limits.identifier}",
                start,
                end,
            )
        elif _KINDS[group] == "int" and len(token) > limits.integer_digits:
            fault = Fault(
                "MESH106",
                f"the integer has {len(token)} digits; `integer_digits` allows {limits.integer_digits}",
                start,
                end,
            )
        else:
            return
        segment.fault = segment.fault or fault


def _advice(character: str) -> str:
    if character == "\ufeff":
        return "save the text without a byte order mark"
    if character == "'":
        return 'strings stand in double quotes `"`'
    if not character.isascii():
        return "use ASCII letters, or one of the usual Greek letters"
    return ""


def integer(token: str) -> int:
    """Value of an integer token; its length has been checked."""
    plain = token.replace("_", "")
    base = _BASES.get(plain[:2].lower())
    return int(plain) if base is None else int(plain[2:] or "0", base)
