"""Counts from packed columns."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_runtime.domain.counts import counts_of, join_columns


def form(*sizes: int) -> circuit.Circuit:
    """A circuit with classical registers of these sizes."""
    made = circuit.Circuit(num_bits=sum(sizes))
    for number, size in enumerate(sizes):
        made.bit_registers.add(name=f"c{number}", offset=sum(sizes[:number]), size=size)
    return made


def packed(bits: list[int]) -> bytes:
    """A column, least significant bit of the first byte first."""
    return sum(bit << shot for shot, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 70), st.integers(0, 1000))
def test_counts_are_those_of_every_shot(sizes: list[int], shots: int, seed: int) -> None:
    """Last register leftmost, highest bit of a register first, registers apart by a space; in order of the keys."""
    rng = random.Random(seed)
    columns = [[rng.randint(0, 1) for _ in range(shots)] for _ in range(sum(sizes))]
    expected: Counter[str] = Counter()
    for shot in range(shots):
        words, at = [], 0
        for size in sizes:
            words.append("".join(str(columns[at + bit][shot]) for bit in reversed(range(size))))
            at += size
        expected[" ".join(reversed(words))] += 1
    found = counts_of(form(*sizes), [packed(column) for column in columns], shots)
    assert (found, list(found)) == (dict(expected), sorted(expected))


def test_a_circuit_without_bits_has_no_counts() -> None:
    """Nothing measured, nothing counted."""
    assert counts_of(form(), [], 10) == {}


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=20), min_size=1, max_size=6))
def test_joined_slices_are_the_column(slices: list[list[int]]) -> None:
    """Also where a slice ends within a byte."""
    joined = join_columns([(packed(part), len(part)) for part in slices])
    assert joined == packed([bit for part in slices for bit in part])
