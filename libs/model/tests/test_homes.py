"""Homes of wires."""

from hypothesis import given
from hypothesis import strategies as st

from qmesh_model.homes import Homes


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=30).map(
        lambda moves: sorted(moves, key=lambda move: move[1])
    ),
    st.integers(0, 3),
    st.integers(0, 25),
)
def test_a_home_holds_until_the_next_change(moves: list[tuple[int, int]], wire: int, operation: int) -> None:
    """The last change before the operation counts, and the first home where there is none."""
    changes = [(each, 0, -1) for each in range(4)] + [(each, at, n) for n, (each, at) in enumerate(moves)]
    expected = -1
    for each, at, place in changes[4:]:
        if each == wire and at < operation:
            expected = place
    assert Homes(changes).before(wire, operation) == expected
