"""The node's kernels beside Aer's statevector method: the same gates, one thread, equal precision, Aer with its default fusion."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

from qmesh_model import gates
from qmesh_node.domain.sweeps import Run
from tests.perf.figure import Figure

_GATES = 100
_BOUNDS = {12: (1.0, 0.5), 16: (1.0, 0.5), 20: (1.0, 0.5), 22: (1.3, 0.8)}
_ROUNDS = {12: 9, 16: 7, 20: 5, 22: 3}
_KINDS = ("h", "cx", "cz", "swap", "ry", "rz", "t", "u", "cp", "rzz", "cu")
_PRECISIONS = {"double": np.complex128, "single": np.complex64}

type Gate = tuple[str, tuple[float, ...], tuple[int, ...]]


def _circuit(n: int) -> list[Gate]:
    rng = random.Random(n)
    made = []
    for _ in range(_GATES):
        gate = gates.GATES[rng.choice(_KINDS)]
        angles = tuple(rng.uniform(-3, 3) for _ in range(gate.num_params))
        made.append((gate.name, angles, tuple(rng.sample(range(n), gate.num_qubits))))
    return made


def _own(circuit: list[Gate], n: int, dtype: type[np.complexfloating]) -> NDArray[np.complexfloating]:
    states: NDArray[np.complexfloating] = np.zeros((1, 1 << n), dtype=dtype)
    states[0, 0] = 1
    run = Run()
    for name, angles, qubits in circuit:
        run.add(gates.matrix(name, angles), qubits)
    run.apply(states)
    return states.reshape(-1)


def _aer(circuit: list[Gate], n: int, precision: str) -> Callable[[], NDArray[np.complexfloating]]:
    quantum = QuantumCircuit(n)
    for name, angles, qubits in circuit:
        getattr(quantum, name)(*angles, *qubits)
    simulator = AerSimulator(method="statevector", max_parallel_threads=1, precision=precision)
    quantum.save_statevector()

    def run() -> NDArray[np.complexfloating]:
        made: NDArray[np.complexfloating] = np.asarray(simulator.run(quantum).result().get_statevector().data)
        return made

    return run


def _timed(work: Callable[[], object]) -> float:
    """CPU seconds of one call, of all threads."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def run() -> list[Figure]:
    """The figures; both sides take turns, and the least of each counts."""
    figures = []
    for n, (target, aim) in _BOUNDS.items():
        circuit = _circuit(n)
        for precision, dtype in _PRECISIONS.items():
            aer, own = _aer(circuit, n, precision), partial(_own, circuit, n, dtype)
            tolerance = 1e-10 if dtype is np.complex128 else 1e-3
            assert abs(abs(np.vdot(aer(), own())) - 1) < tolerance
            pairs = [(_timed(aer), _timed(own)) for _ in range(_ROUNDS[n])]
            theirs, ours = (min(side) * 1e3 for side in zip(*pairs, strict=True))
            figures.append(
                Figure(
                    f"{_GATES} random gates, n = {n}, {precision}, own / Aer",
                    ours / theirs,
                    "x",
                    target,
                    aim,
                    cpu_ms=ours,
                    how=f"no mesh; Aer {theirs:.2f} ms of CPU, one thread, default fusion; gates {', '.join(_KINDS)}",
                )
            )
    return figures
