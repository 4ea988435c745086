"""Slices of shots: what halving gives, and that it is found again by the next owner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmesh_runtime.domain.slices import Slice, slices_of


@given(st.integers(1, 5000), st.integers(1, 40))
def test_slices_cover_every_shot_once(shots: int, slices: int) -> None:
    """In order, without gaps, sizes differing by one at most."""
    parts = slices_of(shots, min(shots, slices))
    assert [part.index for part in parts] == list(range(min(shots, slices)))
    assert [shot for part in parts for shot in (part.first, part.first + part.shots)][1:-1:2] == [
        part.first for part in parts[1:]
    ]
    assert sum(part.shots for part in parts) == shots
    assert max(part.shots for part in parts) - min(part.shots for part in parts) <= 1


@given(st.integers(1, 300), st.integers(1, 5), st.lists(st.integers(0, 400), max_size=12))
def test_any_halving_covers_every_shot_once(shots: int, slices: int, choices: list[int]) -> None:
    """Indices stay unique, and an owner that sees the leaves halves the same slices."""
    slices = min(slices, shots)
    parts = slices_of(shots, slices)
    for choice in choices:
        at = choice % len(parts)
        parts[at : at + 1] = parts[at].halves(slices) or (parts[at],)
    assert len({part.index for part in parts}) == len(parts)
    assert [part.first for part in parts] == [
        sum(before.shots for before in parts[:at]) for at in range(len(parts))
    ]
    assert sum(part.shots for part in parts) == shots
    assert slices_of(shots, slices, {part.index for part in parts}) == parts


@pytest.mark.parametrize(("shots", "least"), [(1, 1), (3, 1), (1 << 20, 1 << 14)])
def test_halving_ends(shots: int, least: int) -> None:
    """At one shot, or at a 64th."""
    part = Slice(0, 0, shots)
    while (halves := part.halves(1)) is not None:
        part = halves[0]
    assert part.shots == least
