"""Noisy trajectories on one node's executor, beside its own distinct histories and Aer's trajectories; no mesh."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_node.domain.block import Block
from qmesh_node.domain.executor import Execution, Executor
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.randomness import Draws
from tests.perf.figure import Figure

_GATES = 100
_SHOTS = 1024
_ROUNDS = 5
_SERVICES = {"h": "hadamard", "cx": "cnot", "cz": "cz", "t": "programmable_gate"}

type Gate = tuple[str, tuple[int, ...]]


def _circuit(n: int) -> list[Gate]:
    rng = random.Random(n)
    made: list[Gate] = []
    for _ in range(_GATES):
        name = rng.choice(tuple(_SERVICES))
        made.append((name, tuple(rng.sample(range(n), 2 if name[0] == "c" else 1))))
    return made


def _block(gates: list[Gate], n: int, shots: int, error: float) -> Block:
    """Gates that err with a probability each, and a joint readout."""
    operations = [
        gate.NodeOperation(
            index=number, kind=circuit.OPERATION_KIND_GATE, name=name, service_type=_SERVICES[name], wires=wires,
        )
        for number, (name, wires) in enumerate(gates)
    ] + [
        gate.NodeOperation(
            index=_GATES + wire, kind=circuit.OPERATION_KIND_MEASURE, service_type="measurement_feedforward", wires=[wire],
            writes=[circuit.ClassicalWrite(bit=wire, version=wire, previous=-1)], terminal=True,
        )
        for wire in range(n)
    ]  # fmt: skip
    profile = None
    if error:  # F_avg = (d F_pro + 1) / (d + 1)
        one, two = (d * (1 - error) / (d + 1) + 1 / (d + 1) for d in (2, 4))
        profile = gate.NoiseProfile(gate_fidelity={"h": one, "t": one, "cx": two, "cz": two})
    return Block(
        operations=operations,
        fragments=[gate.FragmentHeader(fragment_id="0")],
        outputs=[gate.OutputComponent(wires=range(n))],
        fresh_wires=range(n),
        draws=Draws(7, 0, shots),
        profile=profile,
    )


def _executed(block: Block) -> Execution:
    return Executor(block, [], {}, {}, Memory(1 << 32).workspace()).run()


def _least(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def _aer(gates: list[Gate], n: int, error: float) -> Callable[[], object]:
    quantum = QuantumCircuit(n)
    for name, wires in gates:
        getattr(quantum, name)(*wires)
    quantum.measure_all()
    model = NoiseModel()
    for width, names in ((1, ["h", "t"]), (2, ["cx", "cz"])):
        share = 4**width / (4**width - 1)  # Aer's parameter counts the identity among the errors
        model.add_all_qubit_quantum_error(depolarizing_error(error * share, width), names)
    simulator = AerSimulator(method="statevector", noise_model=model, max_parallel_threads=1)
    return lambda: simulator.run(quantum, shots=_SHOTS, seed_simulator=3).result().get_counts()


def run() -> list[Figure]:
    """The figures."""
    few = _circuit(10)
    noisy = _block(few, 10, _SHOTS, 0.001)
    histories = _executed(noisy).components[0].rows
    single = _least(lambda: _executed(_block(few, 10, 1, 0.0)))
    seconds = _least(lambda: _executed(noisy))
    figures = [
        Figure(
            "noisy 10 qubits, 0.1 %, shots / distinct histories one by one",
            seconds / (histories * single),
            "x",
            2.0,
            cpu_ms=seconds * 1e3,
            how=f"{_SHOTS} shots, {_GATES} gates, {histories} histories of {single * 1e3:.2f} ms each; CPU, no mesh",
        )
    ]
    for error in (0.001, 0.01):
        gates = _circuit(12)
        ours = _least(lambda gates=gates, error=error: _executed(_block(gates, 12, _SHOTS, error)))  # type: ignore[misc]
        theirs = _least(_aer(gates, 12, error))
        figures.append(
            Figure(
                f"{_SHOTS} noisy trajectories, n = 12, {error:.1%}, own / Aer",
                ours / theirs,
                "x",
                2.0,
                cpu_ms=ours * 1e3,
                how=f"{_GATES} gates, double precision, one thread; Aer {theirs * 1e3:.0f} ms of CPU; no mesh",
            )
        )
    return figures
