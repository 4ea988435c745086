"""The known name that was probably meant.

Responsible for closeness only. Its work is bounded for one text as a whole: names and their number are the text's, and
so is the number of mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_CELLS: Final = 200_000
_SHORT: Final = 4
_MIDDLE: Final = 8


def distance(one: str, other: str, most: int) -> int:
    """Insertions, deletions, exchanges and swaps of neighbours that make one name the other; `most` + 1 if more.

    Optimal string alignment (Damerau, Commun. ACM 7 (1964) 171), in a band of `most` around the diagonal.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    far = most + 1
    before: list[int] = [far]
    row = [j if j <= most else far for j in range(len(other) + 1)]
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [far] * (len(other) + 1)
        if i <= most:
            row[0] = i
        for j in range(max(1, i - most), min(len(other), i + most) + 1):
            best = min(before[j - 1] + (letter != other[j - 1]), before[j] + 1, row[j - 1] + 1)
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == other[j - 1]:
                best = min(best, older[j - 2] + 1)
            row[j] = min(best, far)
    return row[-1]


@dataclass(slots=True)
class Nearest:
    """Finds near names while its work lasts.

    Attributes:
        cells: steps of comparisons that may still be made.
    """

    cells: int = _CELLS

    def find(self, name: str, candidates: Iterable[str]) -> str:
        """The nearest candidate, letters of either case; empty when none is near, or too much has been compared.

        Args:
            name: what was written.
            candidates: known names; of equally near ones, one with the same first letter is taken, else the first.
        """
        most = min(len(name) - 1, 1 if len(name) <= _SHORT else 2 if len(name) <= _MIDDLE else 3)
        wanted, best, found = name.lower(), (most + 1, True), ""
        letters = frozenset(wanted)
        for candidate in candidates:
            if abs(len(candidate) - len(name)) > most:
                continue
            self.cells -= len(name) * (2 * most + 1)
            if self.cells < 0:
                return found
            lower = candidate.lower()
            if (
                len(letters.symmetric_difference(lower)) > 2 * most
            ):  # one change exchanges two letters at most
                continue
            near = (distance(wanted, lower, most), lower[:1] != wanted[:1])
            if near < best:
                best, found = near, candidate
        return found
