"""Sweeps against plain tensor contraction, and their refusals."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from qmesh_model import gates
from qmesh_node import native
from qmesh_node.domain import sweeps
from qmesh_node.domain.forms import Kind, Matrix, form_of
from qmesh_node.domain.sweeps import LOCAL, Run

Complex = NDArray[np.complexfloating]


def _random(rows: int, n: int, dtype: type[np.complexfloating]) -> Complex:
    rng = np.random.default_rng(rows + n)
    states = rng.normal(size=(rows, 1 << n)) + 1j * rng.normal(size=(rows, 1 << n))
    made: Complex = (states / np.linalg.norm(states, axis=1)[:, None]).astype(dtype)
    return made


def _contracted(states: Complex, matrix: Matrix, positions: tuple[int, ...]) -> Complex:
    """The same gate by one contraction over the operands' axes."""
    n, k = states.shape[1].bit_length() - 1, len(positions)
    axes = [n - position for position in reversed(positions)]
    tensor = np.moveaxis(states.reshape((-1,) + (2,) * n), axes, range(1, k + 1))
    flat = tensor.reshape(len(states), 1 << k, -1)
    made = np.einsum("ij,rjx->rix", np.array(matrix, dtype=states.dtype), flat).reshape(tensor.shape)
    back: Complex = np.moveaxis(made, range(1, k + 1), axes).reshape(states.shape)
    return back


def _gate(rng: random.Random, n: int) -> tuple[Matrix, tuple[int, ...]]:
    gate = rng.choice([g for g in gates.GATES.values() if g.num_qubits <= n])
    matrix = gates.matrix(gate.name, tuple(rng.uniform(-4, 4) for _ in range(gate.num_params)))
    return matrix, tuple(rng.sample(range(n), gate.num_qubits))


@pytest.mark.parametrize("n", [*range(1, 10), LOCAL - 1, LOCAL, LOCAL + 1, LOCAL + 3])
def test_a_run_is_the_product_of_its_gates(n: int) -> None:
    """Random gates of the whole catalogue, one run of them, make what contractions one after another make."""
    rng = random.Random(n)
    states = _random(2, n, np.complex128)
    expected, run = states.copy(), Run()
    for _ in range(60):
        matrix, positions = _gate(rng, n)
        run.add(matrix, positions)
        expected = _contracted(expected, matrix, positions)
    run.apply(states)
    assert not len(run)
    np.testing.assert_allclose(states, expected, atol=1e-12)


def test_only_the_chosen_rows_change() -> None:
    """Rows that are not named keep their bytes."""
    states = _random(5, 4, np.complex128)
    before, run = states.copy(), Run()
    run.add(gates.matrix("cu", (0.3, 0.1, 0.7, 0.2)), (3, 1))
    run.apply(states, np.array([1, 4], dtype=np.int64))
    assert states[[0, 2, 3]].tobytes() == before[[0, 2, 3]].tobytes()
    expected = _contracted(before, gates.matrix("cu", (0.3, 0.1, 0.7, 0.2)), (3, 1))
    np.testing.assert_allclose(states[[1, 4]], expected[[1, 4]], atol=1e-14)


def test_single_precision_stays_single() -> None:
    """Rows of complex64 are changed as such, to their precision."""
    rng, states = random.Random(3), _random(3, 8, np.complex64)
    expected: Complex = states.astype(np.complex128)
    run = Run()
    for _ in range(40):
        matrix, positions = _gate(rng, 8)
        run.add(matrix, positions)
        expected = _contracted(expected, matrix, positions)
    run.apply(states)
    assert states.dtype == np.complex64
    np.testing.assert_allclose(states, expected, atol=1e-5)


def test_the_same_run_makes_the_same_bytes() -> None:
    """A run on a wide state is repeatable to the last bit, and rows do not influence each other."""
    made = []
    for rows in (1, 3):
        rng, states, run = (
            random.Random(7),
            np.repeat(_random(1, LOCAL + 2, np.complex128), rows, axis=0),
            Run(),
        )
        for _ in range(50):
            run.add(*_gate(rng, LOCAL + 2))
        run.apply(states)
        made += [row.tobytes() for row in states]
    assert len(set(made)) == 1


def test_gates_that_share_few_wires_share_a_pass() -> None:
    """A layer of gates on 20 wires, which commute, needs far fewer passes over memory than gates."""
    run = Run()
    for position in range(0, 20, 2):
        run.add(gates.matrix("rxx", (0.2,)), (position, position + 1))
        run.add(gates.matrix("cx"), (position, position + 1))
    assert len(sweeps._sweeps(run._gates, 20)) == 3


@pytest.mark.parametrize(
    ("name", "kind", "controls"),
    [
        ("x", Kind.FLIP, 0), ("c4x", Kind.FLIP, 4), ("swap", Kind.SWAP, 0), ("cswap", Kind.SWAP, 1), ("t", Kind.DIAGONAL, 1),
        ("cz", Kind.DIAGONAL, 2), ("rz", Kind.DIAGONAL, 0), ("rzz", Kind.DIAGONAL, 0), ("h", Kind.REAL, 0),
        ("cry", Kind.REAL, 1), ("u", Kind.GENERAL, 0), ("y", Kind.GENERAL, 0), ("rxx", Kind.PAIR, 0), ("rccx", Kind.DENSE, 0),
    ],
)  # fmt: skip
def test_forms_are_the_cheapest(name: str, kind: Kind, controls: int) -> None:
    """A gate is recognised for what it does, with all its controls."""
    gate = gates.GATES[name]
    form = form_of(gates.matrix(name, (0.4, 0.3, 0.2, 0.1)[: gate.num_params]))
    assert form is not None
    assert (form.kind, len(form.controls)) == (kind, controls)


def test_the_identity_costs_nothing() -> None:
    """Gates that do nothing, or undo each other exactly, leave the very same bytes."""
    states = _random(1, 3, np.complex128)
    before, run = states.tobytes(), Run()
    for name in ("id", "x", "x"):
        run.add(gates.matrix(name), (1,))
    run.apply(states)
    assert states.tobytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": np.array([2])}, {"rows": np.array([-1])}, {"rows": np.zeros(1, dtype=np.int32)}, {"inner": 3}, {"inner": -1},
        {"inner": 99}, {"offsets": np.array([0, 4])}, {"outer": 4}, {"outer": -4}, {"room": np.zeros(7)},
        {"room": np.zeros(8, dtype=np.float32)}, {"gates": np.array([[3, 0, 1, 0, 4, 0, 0, 0, 0]])},
        {"gates": np.array([[3, 1, 1, 0, 1, 0, 0, 0, 0]])}, {"gates": np.array([[9, 0, 1, 0, 1, 0, 0, 0, 0]])},
        {"gates": np.array([[3, 0, 1, 1, 1, 0, 0, 0, 0]])}, {"gates": np.array([[6, 0, 6, 0, 1, 2, 0, 0, 0]])},
        {"factors": np.zeros(7)}, {"states": np.zeros(4, dtype=np.complex128)}, {"states": np.zeros((2, 4))},
        {"states": np.zeros((2, 8), dtype=np.complex128)[:, ::2]},
    ],
)  # fmt: skip
def test_a_sweep_that_does_not_fit_is_refused(wrong: dict[str, object]) -> None:
    """No argument lets the compiled code touch memory that is not the states'."""
    given: dict[str, object] = {
        "states": np.ones((2, 4), dtype=np.complex128), "rows": np.array([0, 1]), "inner": 2, "offsets": np.array([0]),
        "outer": 0, "gates": np.array([[3, 0, 1, 0, 1, 0, 0, 0, 0]]), "factors": np.ones(8), "room": np.zeros(8),
    }  # fmt: skip
    native.sweep(*given.values())  # type: ignore[arg-type] # what fits, fits
    with pytest.raises((ValueError, BufferError)):
        native.sweep(*(given | wrong).values())  # type: ignore[arg-type]
