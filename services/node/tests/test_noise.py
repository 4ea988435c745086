"""Drawn errors against density matrices, observed fidelity against its definition, and controlled degradation."""

from functools import partial
from types import ModuleType

import numpy as np
import pytest
import trio
import trio.testing
from numpy.typing import NDArray
from qiskit.quantum_info import DensityMatrix, Operator

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_node.domain import noise
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.noise import Behaviour
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tally import FragmentTally

SHOTS = 40_000


def _averaged(ensemble: Ensemble) -> NDArray[np.complex128]:
    """Density matrix of the mixture of all shots."""
    weights = np.bincount(ensemble.row_of_shot, minlength=ensemble.rows) / len(ensemble.row_of_shot)
    made: NDArray[np.complex128] = np.einsum("r,ri,rj->ij", weights, ensemble.states, ensemble.states.conj())
    return made


def _depolarised(rho: DensityMatrix, average: float) -> DensityMatrix:
    """Rho -> (1 - p) rho + p I / d with F_avg = 1 - p (d - 1) / d (Nielsen 2002)."""
    d = rho.dim
    p = (1 - average) * d / (d - 1)
    return DensityMatrix((1 - p) * rho.data + p * np.eye(d) / d)


@pytest.mark.parametrize(
    ("body", "qubits"), [("h q[0]; t q[0];", 1), ("bell_pair q[0], q[1]; cx q[1], q[0];", 2)]
)
def test_trajectories_average_to_the_depolarised_state(lab: ModuleType, body: str, qubits: int) -> None:
    """Every Pauli expectation of two noisy gates is within 3 standard errors of the exact channel's."""
    circuit = lab.parsed(body, qubits)
    services = dict.fromkeys(("hadamard", "programmable_gate", "bell_pair", "cnot"), 0.9)
    run = lab.run_cuts(
        circuit,
        lab.cut(circuit, None),
        Draws(11, 0, SHOTS),
        profile=gate.NoiseProfile(service_fidelity=services),
    )
    (ensemble,) = run.last()
    rho = DensityMatrix.from_label("0" * qubits)
    for operation in circuit.operations:
        unitary, _ = lab.qiskit_gate(operation.name, ())
        positions = [ensemble.position(q) for q in operation.qubits]
        rho = _depolarised(rho.evolve(unitary, positions), 0.9)
    for label in ("X", "Y", "Z") if qubits == 1 else ("XX", "YY", "ZZ", "ZI", "IZ", "XY", "YZ"):
        pauli = Operator.from_label(label).data
        exact, seen = np.trace(pauli @ rho.data).real, np.trace(pauli @ _averaged(ensemble)).real
        assert abs(seen - exact) < 3 * np.sqrt((1 - exact**2) / SHOTS) + 1e-9, label


def test_a_noisy_teleportation_errs_as_one_two_qubit_operation(lab: ModuleType) -> None:
    """Errors of a teleportation are drawn once for both wires, also when they are of different components."""
    circuit = lab.parsed("x q[0]; h q[1]; teleport q[0], q[1];", 2)
    profile = gate.NoiseProfile(service_fidelity={"teleportation": 0.9})
    run = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(3, 0, SHOTS), profile=profile)
    process = (5 * 0.9 - 1) / 4
    (tally,) = [t for e in run.executions for t in e.fragments if t.good is not None]
    assert tally.qubits == 2
    assert abs(tally.good.mean() - process) < 3 * np.sqrt(process * (1 - process) / SHOTS)
    one, two = sorted(run.last(), key=lambda e: e.wires)
    # of 15 errors 8 flip |1>, and 8 flip the sign of |+>
    for ensemble, pauli in ((one, "Z"), (two, "X")):
        value = np.trace(Operator.from_label(pauli).data @ _averaged(ensemble)).real
        expected = (-1 if pauli == "Z" else 1) * (1 - 2 * (1 - process) * 8 / 15)
        assert abs(value - expected) < 3 * 2 / np.sqrt(SHOTS)


@pytest.mark.parametrize(("qubits", "average"), [(1, 0.99), (2, 0.95), (2, 0.6)])
def test_observed_fidelity_estimates_the_advertised_average(
    lab: ModuleType, qubits: int, average: float
) -> None:
    """(d f + 1) / (d + 1) of the sampled fraction without error has the advertised average in its Wilson interval."""
    circuit = lab.parsed("h q[0];" if qubits == 1 else "cx q[0], q[1];", qubits)
    profile = gate.NoiseProfile(service_fidelity={"hadamard": average, "cnot": average})
    run = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(5, 0, SHOTS), profile=profile)
    (tally,) = run.executions[0].fragments
    estimate, process = tally.estimate()
    d = 2**qubits
    assert estimate.low < average < estimate.high
    assert estimate.value == pytest.approx((d * process + 1) / (d + 1))
    assert process == np.count_nonzero(tally.good) / SHOTS


def test_the_wilson_interval_is_the_published_one() -> None:
    """9 of 10 at z = 2.968 (99.7 %), by the formula of Wilson 1927 solved as a quadratic; nothing read is no knowledge."""
    f, n, z = 0.9, 10, 2.968
    roots = np.roots([1 + z**2 / n, -(2 * f + z**2 / n), f**2])
    estimate = noise.wilson(9, 10)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(sorted(roots)))
    assert noise.wilson(0, 0) == noise.Estimate(1.0, 0.0, 1.0)
    assert noise.wilson(10, 10).high == 1.0


def test_reads_are_flipped_as_often_as_the_profile_says(lab: ModuleType) -> None:
    """Flips happen to the read bit, not to the state: the next read agrees with the state; f is the fraction unflipped."""
    circuit = lab.parsed("x q[0]; c[0] = measure q[0]; c[1] = measure q[0]; h q[0];", 1, 2)
    run = lab.run_cuts(
        circuit, lab.cut(circuit, None), Draws(4, 0, SHOTS), profile=gate.NoiseProfile(readout_error=0.1)
    )
    sigma = np.sqrt(0.1 * 0.9 / SHOTS)
    for version in (0, 1):
        assert abs((~run.columns[version]).mean() - 0.1) < 3 * sigma
    both = (~run.columns[0] & ~run.columns[1]).mean()
    assert abs(both - 0.01) < 3 * np.sqrt(0.01 * 0.99 / SHOTS)
    reads = [t for t in run.executions[0].fragments if t.measured]
    for tally, version in zip(reads, (0, 1), strict=True):
        assert tally.estimate()[0].value == run.columns[version].mean()


def test_a_noisy_run_replays_on_its_recorded_bits(lab: ModuleType) -> None:
    """With the same profile and the recorded columns, flips included, another seed of outcomes gives the same bits back."""
    body = "h q[0]; c[0] = measure q[0]; cx q[0], q[1]; syndrome_extraction q[0], q[1], q[2] -> d;"
    circuit = lab.parse(lab.HEADER + "qubit[3] q; bit[1] c; bit[2] d;" + body)
    profile = gate.NoiseProfile(service_fidelity={"cnot": 0.9, "hadamard": 0.9}, readout_error=0.1)
    cuts, draws = lab.cut(circuit, None), Draws(9, 0, 500)
    first = lab.run_cuts(circuit, cuts, draws, profile=profile)
    again = lab.run_cuts(circuit, cuts, draws, profile=profile, recorded=first.columns)
    assert all((first.columns[v] == again.columns[v]).all() for v in first.columns)
    assert {k: e.digest() for k, e in first.versions.items()} == {
        k: e.digest() for k, e in again.versions.items()
    }


def test_inactive_shots_draw_no_error(lab: ModuleType) -> None:
    """A conditioned gate errs only in shots in which it happens."""
    circuit = lab.parsed("h q[0]; c[0] = measure q[0]; if (c[0]) { x q[1]; }", 2, 1)
    profile = gate.NoiseProfile(gate_fidelity={"x": 1 / 3})  # every active shot errs
    run = lab.run_cuts(circuit, lab.cut(circuit, None), Draws(2, 0, 1000), profile=profile)
    (tally,) = [t for t in run.executions[0].fragments if t.good is not None]
    assert (tally.good == ~run.columns[0]).all()


def test_a_fragment_without_draws_is_perfect() -> None:
    """No error drawn in n shots is a fraction of 1 with a Wilson interval of n trials."""
    estimate, process = FragmentTally(shots=1000).estimate()
    assert process == 1.0
    assert 0.98 < estimate.low < 1.0 == estimate.high


# -- behaviour -------------------------------------------------------------------------------------------------------


def test_true_fidelity_and_drift_change_the_rates_that_are_used(lab: ModuleType) -> None:
    """The asked profile is left alone; the used one has the true fidelity, less what drifted, and the same readout."""
    asked = gate.NoiseProfile(service_fidelity={"cnot": 0.99}, gate_fidelity={"cx": 0.98}, readout_error=0.02)
    used = Behaviour(true_fidelity=0.8, drift_per_hour=0.1).profile(asked, 1800)
    assert dict(used.service_fidelity) == pytest.approx({"cnot": 0.75})
    assert dict(used.gate_fidelity) == pytest.approx({"cx": 0.75})
    assert used.readout_error == 0.02
    assert asked.service_fidelity["cnot"] == 0.99
    assert Behaviour(drift_per_hour=0.1).profile(asked, 3600).service_fidelity["cnot"] == pytest.approx(0.89)
    assert Behaviour(drift_per_hour=1.0).profile(asked, 1e9).service_fidelity["cnot"] == 0.0
    assert Behaviour().profile(asked, 1e9) == asked


async def _record(
    lab: ModuleType, behaviour: Behaviour, profile: gate.NoiseProfile | None, *, recorded: bool = False
) -> gate.ExecutionRecord:
    node = lab.node(behaviour=behaviour)
    request = lab.request(
        lab.parsed("cx q[0], q[1]; c[0] = measure q[0];", 2, 1), node.identity.peer_id, shots=4000
    )
    if profile is not None:
        request.noise.CopyFrom(profile)
        request.noise_recorded = recorded
    record: gate.ExecutionRecord = await node.ask(request)
    return record


def test_a_recorded_profile_is_replayed_as_it_is(lab: ModuleType) -> None:
    """A degraded node that recovers what another one executed draws the errors that were recorded, bit for bit."""
    recorded = gate.NoiseProfile(service_fidelity={"cnot": 0.9}, readout_error=0.05)
    first = trio.run(_record, lab, Behaviour(), recorded)
    again = trio.run(partial(_record, recorded=True), lab, Behaviour(true_fidelity=0.6), recorded)
    assert again.noise_used == first.noise_used == recorded
    assert again.fragments[0].observed_fidelity == first.fragments[0].observed_fidelity
    assert again.columns == first.columns


def test_a_degraded_node_shows_in_its_signed_record_with_noise_on_only(lab: ModuleType) -> None:
    """The record says the profile that was really used and an observed fidelity near it; without noise everything is exact."""
    bad = Behaviour(true_fidelity=0.7)
    noisy = trio.run(_record, lab, bad, gate.NoiseProfile(service_fidelity={"cnot": 0.99}))
    assert noisy.noise_used.service_fidelity["cnot"] == 0.7
    assert abs(noisy.fragments[0].observed_fidelity - 0.7) < 0.03
    assert noisy.fragments[0].fidelity_source == "sampled"
    exact = trio.run(_record, lab, bad, None)
    assert not exact.HasField("noise_used")
    assert [f.observed_fidelity for f in exact.fragments] == [1.0, 1.0]
    assert {f.fidelity_source for f in exact.fragments} == {"exact"}
    honest = trio.run(_record, lab, Behaviour(), None)
    assert [c.bits for c in honest.columns] == [c.bits for c in exact.columns]


def test_a_delay_delays_and_changes_nothing_else(lab: ModuleType) -> None:
    """A node with a delay of two hours answers after two hours of its clock with the bits of an honest one."""

    async def timed() -> tuple[gate.ExecutionRecord, float]:
        begun = trio.current_time()
        record = await _record(lab, Behaviour(delay_seconds=7200), None)
        return record, trio.current_time() - begun

    clock = trio.testing.MockClock(autojump_threshold=0)
    late, seconds = trio.run(timed, clock=clock)
    assert seconds >= 7200
    prompt = trio.run(_record, lab, Behaviour(), None)
    assert [c.bits for c in late.columns] == [c.bits for c in prompt.columns]
