"""Stabilizer components: the bits that amplitudes give, wherever they are needed, and widths that amplitudes cannot have."""

from __future__ import annotations

import random
import time
from types import ModuleType

import numpy as np
import pytest

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_model import gates
from qmesh_node.adapters.states import component_of
from qmesh_node.domain.cliffords import conjugation_of
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tableau import Tableau, packed_bytes, unpacked

SHOTS = 512
_ONE = ("h", "s", "sdg", "x", "y", "z", "sx", "sxdg")
_TWO = ("cx", "cy", "cz", "swap", "iswap", "ecr", "dcx", "bell_pair")
_ANGLES = ("rz(pi/2)", "ry(-pi/2)", "U(pi/2, pi, -pi/2)")


def _program(seed: int, qubits: int, *, awkward: bool = False) -> str:
    """Clifford gates, measurements, resets, checks of codes, Pauli feed-forward; `awkward`: also what only amplitudes can do."""
    rng = random.Random(seed)
    lines = []
    for _ in range(40):
        q = rng.sample(range(qubits), min(qubits, 4))
        bit = rng.randrange(qubits)
        lines.append(
            rng.choice(
                [
                    f"{rng.choice(_ONE)} q[{q[0]}];",
                    f"{rng.choice(_TWO)} q[{q[0]}], q[{q[1]}];",
                    f"{rng.choice(_TWO)} q[{q[1]}], q[{q[2]}];",
                    f"{rng.choice(_ANGLES)} q[{q[0]}];",
                    f"c[{bit}] = measure q[{q[0]}];",
                    f"if (c[{bit}]) {{ {rng.choice(('x', 'y', 'z'))} q[{q[1]}]; }}",
                    f"reset q[{q[0]}];" if rng.random() < 0.5 else f"teleport q[{q[0]}], q[{q[1]}];",
                    f"syndrome_extraction q[{q[0]}], q[{q[1]}], q[{q[2]}];",
                    f"syndrome_extraction q[{q[0]}], q[{q[1]}], q[{q[2]}], q[{q[3]}];",
                ]
                + [
                    f"if (c[{bit}]) {{ h q[{q[0]}]; }}",
                    f"if (c[{bit}]) {{ c[{q[0]}] = measure q[{q[1]}]; }}",
                    f"if (c[{bit}]) {{ reset q[{q[1]}]; }}",
                    f"t q[{q[0]}];",
                    f"ccx q[{q[0]}], q[{q[1]}], q[{q[2]}];",
                ]
                * awkward
            )
        )
    return "\n".join([*lines, f"c = measure q; // {seed}"])


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("awkward", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_stabilizers_draw_the_bits_that_amplitudes_draw(
    lab: ModuleType, seed: int, awkward: bool, noise: bool
) -> None:
    """Every column is equal, in one block and in random ones, with and without Pauli noise; so are the states."""
    circuit = lab.parsed(_program(seed, 5, awkward=awkward), 5, 5)
    profile = None
    if noise:
        profile = gate.NoiseProfile(
            service_fidelity=dict.fromkeys(gates.SERVICE_TYPES, 0.97), readout_error=0.02
        )
    whole, parts = lab.cut(circuit, None), lab.cut(circuit, random.Random(seed))
    dense = lab.run_cuts(circuit, whole, Draws(seed, 0, SHOTS), profile=profile)
    for cuts in (whole, parts):
        run = lab.run_cuts(circuit, cuts, Draws(seed, 0, SHOTS), profile=profile, stabilizer=True)
        assert run.columns.keys() == dense.columns.keys()
        for version, column in dense.columns.items():
            assert (run.columns[version] == column).all(), version
    for component in run.last():
        assert awkward or isinstance(component, Tableau)
        made = expanded(component, np.complex128) if isinstance(component, Tableau) else component
        other = next(e for e in dense.last() if set(e.wires) == set(made.wires))
        assert _overlaps(made, other) == pytest.approx(np.ones(SHOTS), abs=1e-9)


def _overlaps(one: Ensemble, other: Ensemble) -> np.ndarray:
    n = len(one.wires)
    axes = [0, *(1 + other.wires[::-1].index(wire) for wire in reversed(one.wires))]
    moved = other.states.reshape((-1,) + (2,) * n).transpose(axes).reshape(other.rows, -1)
    made: np.ndarray = (
        np.abs((one.states[one.row_of_shot].conj() * moved[other.row_of_shot]).sum(axis=1)) ** 2
    )
    return made


@pytest.mark.parametrize("name", sorted(g.name for g in gates.GATES.values() if g.num_qubits <= 2))
def test_clifford_gates_are_those_of_the_model(name: str) -> None:
    """The lookup knows a gate exactly when the model calls it Clifford, for fixed and for generic angles."""
    count = gates.GATES[name].num_params
    for angles in ((0.0,) * count, (np.pi / 2,) * count, (np.pi,) * count, (0.3, 0.4, 0.5, 0.6)[:count]):
        found = conjugation_of(gates.matrix(name, angles))
        assert (found is not None) == gates.is_clifford(name, angles), angles


def test_a_hundred_qubits_are_no_matter(lab: ModuleType) -> None:
    """GHZ on 100 wires, which no node can hold as amplitudes, is read in far less than a second of CPU and stays whole."""
    body = "h q[0];" + "".join(f"cx q[{i}], q[{i + 1}];" for i in range(99)) + "c = measure q;"
    circuit = lab.parsed(body, 100, 100)
    cuts = lab.cut(circuit, None)
    begun = time.process_time()
    run = lab.run_cuts(circuit, cuts, Draws(3, 0, 1024), stabilizer=True)
    assert time.process_time() - begun < 5
    columns = np.array([run.columns[v] for v in circuit.final_versions])
    assert (columns == columns[0]).all()
    assert 400 < columns[0].sum() < 624
    with pytest.raises(ExhaustedError, match="dense limit"):
        lab.run_cuts(circuit, cuts, Draws(3, 0, 16))


def test_a_component_too_wide_for_amplitudes_refuses_its_first_other_gate(lab: ModuleType) -> None:
    """A T gate on one of 30 entangled wires is RESOURCE_EXHAUSTED, said before anything is allocated."""
    body = "h q[0];" + "".join(f"cx q[{i}], q[{i + 1}];" for i in range(29)) + "t q[3]; c[0] = measure q[0];"
    circuit = lab.parsed(body, 30, 1)
    with pytest.raises(ExhaustedError, match="component of 30 qubits"):
        lab.run_cuts(circuit, lab.cut(circuit, None), Draws(3, 0, 16), stabilizer=True)


def _travelled(lab: ModuleType, seed: int) -> tuple[Tableau, state.ComponentRef, bytearray, int]:
    body = "h q[0]; cx q[0], q[1]; c[0] = measure q[0]; h q[0]; s q[0]; cx q[0], q[2];"
    circuit = lab.parsed(body, 3, 1)
    run = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(seed, 0, 40), stabilizer=True)
    (made,) = run.last()
    rows, shots = made.parts()
    ref = state.ComponentRef(
        wires=made.wires, executor=state.EXECUTOR_KIND_STABILIZER, precision=state.PRECISION_DOUBLE,
        shots=state.ShotRange(count=40), rows=made.rows, digest=made.digest(), bytes=made.nbytes,
    )  # fmt: skip
    return made, ref, bytearray(rows) + bytearray(shots.cast("B")), rows.nbytes


def test_a_tableau_travels_whole(lab: ModuleType) -> None:
    """What arrives has the digest, the size and the arrays of what was sent."""
    made, ref, data, rows_bytes = _travelled(lab, 1)
    assert rows_bytes == packed_bytes(3, made.rows)
    assert len(data) == ref.bytes
    again = component_of(ref, data, rows_bytes)
    assert isinstance(again, Tableau)
    assert again.digest() == made.digest()
    for name in ("x", "z", "signs", "flips", "row_of_shot"):
        assert np.array_equal(getattr(again, name), getattr(made, name)), name


def test_what_is_no_stabilizer_state_is_not_taken(lab: ModuleType) -> None:
    """A changed bit of the generators, a missing byte, or a row that is not there: the version counts as lost."""
    _, ref, data, rows_bytes = _travelled(lab, 1)
    changed = bytearray(data)
    changed[0] ^= 1
    with pytest.raises(LookupError, match="no stabilizer state"):
        component_of(ref, changed, rows_bytes)
    with pytest.raises(LookupError, match="another size"):
        component_of(ref, data[:-1], rows_bytes)
    data[-4:] = b"\xff\xff\xff\xff"
    with pytest.raises(LookupError, match="not there"):
        component_of(ref, data, rows_bytes)
    with pytest.raises(ValueError, match="pair up"):
        unpacked((0, 1), 1, np.zeros(packed_bytes(2, 1), dtype=np.uint8), np.zeros(1, dtype=np.uint32))
