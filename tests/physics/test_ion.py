"""Presets of two ion modules: their pairs, and gates between them, against closed forms."""

from __future__ import annotations

import pytest

from tests.mesh import EXAMPLES
from tests.physics.ion import REMOTE, TELEPORTED, TOPOLOGIES, planned, remote_cz, snapshot, success

_SHOTS = 20_000


def test_every_preset_loads_and_plans_both_searches() -> None:
    """Each file under examples/topologies is a topology on which a search is spread and needs two pairs."""
    files = sorted(path.stem for path in TOPOLOGIES.glob("*.toml"))
    assert files == ["ion_link", "two_ion_modules", "two_ion_modules_open"]
    for name, file in (
        ("ion_link", "grover2"), ("two_ion_modules", "grover2"), ("two_ion_modules_open", "grover_teleported"),
    ):  # fmt: skip
        _, plan = planned((EXAMPLES / f"{file}.qasm").read_text(), snapshot(name), 100)
        assert len(plan.ebits) == 2
        assert len({block.candidates[0].node_id for block in plan.blocks}) == 2


def test_a_gate_over_the_ion_link_has_the_fidelity_of_its_pair() -> None:
    """182 pairs a second at 94 %: F_avg = (4 F + 1) / 5 = 0.952 after 5.5 ms, local gates being perfect."""
    made = remote_cz(REMOTE, snapshot("ion_link"), shots=_SHOTS, seed=1)
    assert abs(made.value - (4 * 0.94 + 1) / 5) < 3 * made.stderr
    assert made.pairs == 1
    assert made.seconds == pytest.approx(1 / 182, rel=2e-3)


@pytest.mark.parametrize(
    ("body", "name"), [(REMOTE, "two_ion_modules"), (TELEPORTED, "two_ion_modules_open")]
)
def test_the_gate_of_the_mesh_and_of_the_program_agree_where_local_gates_are_perfect(
    body: str, name: str
) -> None:
    """Both have the error of the pair alone."""
    made = remote_cz(body, snapshot(name, local=1.0), shots=_SHOTS, seed=2)
    assert abs(made.value - (4 * 0.9689 + 1) / 5) < 3 * made.stderr


def test_a_teleported_gate_has_the_errors_of_both_local_gates() -> None:
    """Process fidelity of a Werner pair and two depolarising gates, with the errors that undo each other.

    After its CZ the network qubit is read in X, so that X on it is harmless: of the 15 errors of a local gate one is as good as none, and
    pairs of the others leave the same error. What remains undoes itself where both gates, or a gate and the pair, err alike.
    """
    pair, local = 0.9689, (5 * 0.977 - 1) / 4
    right, other = local + (1 - local) / 15, 2 * (1 - local) / 15
    process = pair * (right**2 + 3 * other**2) + (1 - pair) * (2 * right * other + 2 * other**2)
    made = remote_cz(TELEPORTED, snapshot("two_ion_modules_open"), shots=_SHOTS, seed=3)
    assert abs(made.value - (4 * process + 1) / 5) < 3 * made.stderr


def test_noise_makes_the_search_fail_sometimes() -> None:
    """Without noise 11 is read always; with it less often, and less with two local gates than with one."""
    perfect = snapshot("two_ion_modules", local=1.0)
    for link in perfect.links:
        link.pair_fidelity = 1.0
    text = (EXAMPLES / "grover2.qasm").read_text()
    assert success(text, perfect, shots=2000, seed=1, wanted="11").value == 1.0
    one = success(text, snapshot("two_ion_modules"), shots=_SHOTS, seed=1, wanted="11")
    two = success(
        (EXAMPLES / "grover_teleported.qasm").read_text(),
        snapshot("two_ion_modules_open"),
        shots=_SHOTS,
        seed=1,
        wanted="11",
    )
    assert 0.5 < two.value < one.value < 1
