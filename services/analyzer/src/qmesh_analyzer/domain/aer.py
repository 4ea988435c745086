"""Wide circuits without collapses by Qiskit Aer, which is faster than the kernels from 19 qubits on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.gates import SWAP, unitary_of
from qmesh_analyzer.domain.kernels import States

_MEMORY_MB = 1024  # Aer's own ceiling is all memory of the host


@lru_cache(maxsize=1)
def _simulator() -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator(method="statevector", max_parallel_threads=1, max_memory_mb=_MEMORY_MB)


def start_thread(first: Callable[[], None]) -> None:
    """Starts the one thread that Aer simulates in, which needs memory for its stack, and runs something there."""
    from qiskit_aer.jobs.utils import DEFAULT_EXECUTOR

    DEFAULT_EXECUTOR.submit(first).result()


def simulate(form: circuit.Circuit) -> States:
    """The final state as one row; gates go in as matrices, so that nothing is transpiled.

    Raises:
        AnalysisError: Aer refused, which it says without an exception.
    """
    simulator = _simulator()  # its import gives circuits `save_statevector`
    quantum = QuantumCircuit(form.num_qubits, global_phase=form.global_phase.value)
    for operation in form.operations:
        if operation.kind == circuit.OPERATION_KIND_GATE:
            quantum.append(UnitaryGate(unitary_of(operation), check_input=False), list(operation.qubits))
        elif operation.kind in {circuit.OPERATION_KIND_TELEPORT, circuit.OPERATION_KIND_SWAP}:
            quantum.append(UnitaryGate(SWAP, check_input=False), list(operation.qubits))
    quantum.save_statevector()
    result = simulator.run(quantum).result()
    if not result.success:
        raise AnalysisError("ANALYZER_RESOURCE", "the simulation was refused, most likely for memory")
    return np.array(result.get_statevector().data, dtype=np.complex128).reshape(1, -1)
