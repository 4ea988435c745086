"""The node's executor against Qiskit: exact states, exact distributions, and bits that no batching changes."""

import random
from collections.abc import Mapping
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.quantum_info import Statevector, state_fidelity
from scipy.stats import chisquare

from qmesh_model import gates
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tableau import Part

SHOTS = 4096
Key = tuple[int, ...]


def _vector_of(lab: ModuleType, ensembles: list[Part], wires: tuple[int, ...]) -> NDArray[np.complex128]:
    """Amplitudes over qubits from the components over wires, all in one row."""
    merged = ensembles[0]
    assert isinstance(merged, Ensemble)
    for other in ensembles[1:]:
        assert isinstance(other, Ensemble)
        merged = merged.merge(other, lambda _rows: None)
    assert merged.rows == 1
    axes = merged.states[0].reshape((2,) * len(merged.wires))
    order = [len(merged.wires) - 1 - merged.position(wire) for wire in reversed(wires)]
    made: NDArray[np.complex128] = np.transpose(axes, order).reshape(-1)
    return made


@pytest.mark.parametrize("name", sorted(gates.GATES))
def test_each_gate_of_the_catalogue_is_qiskits(lab: ModuleType, name: str) -> None:
    """A gate on a random state over six qubits makes the state that Qiskit's own gate makes, to 1e-10."""
    rng = random.Random(name)
    steps = [lab.random_gate(rng, 6, "u") for _ in range(6)]
    steps += [lab.random_gate(rng, 6, "cx") for _ in range(4)]
    steps.append(lab.random_gate(rng, 6, name))
    circuit = lab.parsed("\n".join(step.text for step in steps), 6)
    run = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(1, 0, 16))
    expected = Statevector.from_label("000000")
    for step in steps:
        expected = expected.evolve(step.circuit, list(step.qubits))
    where = lab.track_wires(circuit).final
    touched = {wire for e in run.last() for wire in e.wires}
    rest = [Ensemble.zero(w, 16, np.complex128) for w in range(6) if w not in touched]
    made = _vector_of(lab, [*run.last(), *rest], where)
    assert state_fidelity(Statevector(made), expected) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("seed", range(25))
def test_unitary_circuits_make_the_state_of_qiskit_through_any_blocks(lab: ModuleType, seed: int) -> None:
    """Gates and service words in random blocks and orders make Qiskit's state before the readout."""
    qubits, _, steps, circuit = lab.random_program(seed, dynamic=False)
    run = lab.run_cuts(circuit, lab.cut(circuit, random.Random(seed)), Draws(seed, 0, 64))
    expected = Statevector.from_label("0" * qubits)
    for step in steps:
        if step.kind == "gate":
            expected = expected.evolve(step.circuit, list(step.qubits))
    made = _vector_of(lab, run.last(), lab.track_wires(circuit).final)
    assert state_fidelity(Statevector(made), expected) == pytest.approx(1, abs=1e-9)


def _fits(counts: Mapping[Key, int], expected: Mapping[Key, float]) -> float:
    assert set(counts) <= set(expected), "an impossible outcome was read"
    total = sum(counts.values())
    common = [key for key, p in expected.items() if p * total >= 5]
    observed = [counts.get(key, 0) for key in common]
    wanted = [expected[key] * total for key in common]
    if (rest := total - sum(wanted)) > 1e-6:
        observed.append(total - sum(observed))
        wanted.append(rest)
    return (
        float(chisquare(observed, np.array(wanted) * total / sum(wanted)).pvalue) if len(wanted) > 1 else 1.0
    )


@pytest.mark.parametrize("seed", range(40))
def test_dynamic_circuits_have_the_exact_distribution_and_bits_that_no_batching_changes(
    lab: ModuleType, seed: int
) -> None:
    """Counts fit the enumerated branches, and random blocks in random orders give the very same bits."""
    qubits, bits, steps, circuit = lab.random_program(1000 + seed, dynamic=True)
    whole = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(seed, 0, SHOTS))
    expected = lab.distribution_of(lab.branches_of(qubits, bits, steps))
    assert _fits(lab.counts_of(circuit, whole), expected) > 1e-5
    for other in range(2):
        parts = lab.run_cuts(
            circuit, lab.cut(circuit, random.Random(seed + 100 * other)), Draws(seed, 0, SHOTS)
        )
        assert parts.columns.keys() == whole.columns.keys()
        assert all((parts.columns[v] == whole.columns[v]).all() for v in whole.columns)


@pytest.mark.parametrize("seed", range(6))
def test_slices_of_shots_give_the_bits_of_the_whole(lab: ModuleType, seed: int) -> None:
    """Shots 100 to 299 executed on their own are the shots 100 to 299 of the job, noise on or off."""
    _, _, _, circuit = lab.random_program(2000 + seed, dynamic=True)
    profile = lab.gate.NoiseProfile(
        service_fidelity=dict.fromkeys(gates.SERVICE_TYPES, 0.95), readout_error=0.03
    )
    for used in (None, profile):
        cuts = lab.cut(circuit, None)
        whole = lab.run_cuts(circuit, cuts, Draws(seed, 0, 400), profile=used)
        part = lab.run_cuts(circuit, cuts, Draws(seed, 100, 200), profile=used)
        assert all((whole.columns[v][100:300] == part.columns[v]).all() for v in whole.columns)


@pytest.mark.parametrize("seed", range(6))
def test_recorded_bits_project_to_the_same_states_whatever_the_seed(lab: ModuleType, seed: int) -> None:
    """A block that is given its recorded columns reproduces them and, without resets, the digests of its versions."""
    body = "h q[0]; cx q[0], q[1]; ry(0.7) q[2]; c[0] = measure q[0]; if (c[0]) { ry(0.4) q[2]; } c[1] = measure q[2]; cx q[1], q[2]; h q[2]; c[2] = measure q[2];"
    circuit = lab.parsed(body, 3, 3)
    cuts = lab.cut(circuit, random.Random(seed))
    first = lab.run_cuts(circuit, cuts, Draws(seed, 0, 300))
    again = lab.run_cuts(circuit, cuts, Draws(seed + 99, 0, 300), recorded=first.columns)
    assert all((first.columns[v] == again.columns[v]).all() for v in first.columns)
    assert {k: e.digest() for k, e in first.versions.items()} == {
        k: e.digest() for k, e in again.versions.items()
    }


def test_parameter_sets_and_seeds_draw_differently(lab: ModuleType) -> None:
    """Another seed or parameter set gives other bits, the same one the same."""
    circuit = lab.parsed("h q[0]; c[0] = measure q[0];", 1, 1)

    def bits(*counter: int) -> bytes:
        made: bytes = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(*counter)).columns[0].tobytes()
        return made

    assert bits(1, 0, 64, 0) == bits(1, 0, 64, 0)
    assert len({bits(1, 0, 64, 0), bits(2, 0, 64, 0), bits(1, 0, 64, 1), bits(1, 64, 64, 0)}) == 4
