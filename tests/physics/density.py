"""What a plan's operations do to the state when every channel is applied exactly, to a density matrix: no draws, no node code.

Gates are matrices of the catalogue, noise the closed forms: depolarising gates (Nielsen 2002), amplitude damping and dephasing while
wires wait, the Pauli channel of each pair. A cat copy that is flipped acts at every gate of its packet, so that the state is kept apart
by which of the open copies are flipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model import gates
from qmesh_model.reach import Reach, axis_matrix, copy_errors, reaches

Matrix = NDArray[np.complex128]

_PAULIS = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Noise:
    """Calibration of the node that executes an operation: average gate fidelity by service; readout errors change no state."""

    fidelity: dict[str, float]


def ideal(operations: Sequence[gate.NodeOperation], qubits: int) -> Matrix:
    """The state vector without noise, little-endian."""
    vector = np.zeros((2,) * qubits, dtype=np.complex128)
    vector[(0,) * qubits] = 1
    for operation in operations:
        if operation.kind != circuit.OPERATION_KIND_GATE:
            continue
        width = len(operation.wires)
        matrix = np.array(gates.matrix(operation.name, tuple(operation.parameters)))
        axes = [qubits - 1 - wire for wire in reversed(operation.wires)]
        made = np.tensordot(matrix.reshape((2,) * 2 * width), vector, (range(width, 2 * width), axes))
        vector = np.moveaxis(made, range(width), axes)
    return vector.reshape(-1)


@dataclass(slots=True)
class Density:
    """A state of some wires, little-endian; `parts` by the set of open pairs whose copies are flipped."""

    qubits: int
    parts: dict[frozenset[int], Matrix] = field(default_factory=dict)
    left: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """All wires begin in |0>."""
        rho = np.zeros((2**self.qubits,) * 2, dtype=np.complex128)
        rho[0, 0] = 1
        self.parts = {frozenset(): rho}

    @property
    def rho(self) -> Matrix:
        """The state."""
        return sum(self.parts.values(), np.zeros((2**self.qubits,) * 2, dtype=np.complex128))

    def run(self, operations: Sequence[tuple[gate.NodeOperation, Noise | None]]) -> Density:
        """Applies operations in order; without noise where there is none."""
        self.left = Counter(
            use.pair for operation, _ in operations for use in operation.struck if use.kind != "teleport"
        )
        for operation, noise in operations:
            self._apply(operation, noise)
        return self

    def _apply(self, operation: gate.NodeOperation, noise: Noise | None) -> None:
        if noise is not None:
            for wire, waited, t1, t2 in zip(
                operation.wires, operation.idle_ns, operation.t1_seconds, operation.t2_seconds, strict=False
            ):
                self._wait(wire, waited * 1e-9, t1, t2)
        struck = list(operation.struck) if noise is not None else []
        for use in struck:
            self._open(operation, use)
        later = self._before(operation, struck)
        if operation.kind == circuit.OPERATION_KIND_GATE:
            self._unitary(
                np.array(gates.matrix(operation.name, tuple(operation.parameters))), operation.wires
            )
        if noise is not None and operation.kind in {
            circuit.OPERATION_KIND_GATE,
            circuit.OPERATION_KIND_TELEPORT,
        }:
            self._depolarise(operation.wires, noise.fidelity.get(operation.service_type, 1.0))
        self._after(operation, struck, later)

    def _open(self, operation: gate.NodeOperation, use: gate.EbitUse) -> None:
        if use.kind == "cat" and use.operation == operation.index:
            flipped = use.error_x + use.error_y
            apart = {}
            for pairs, rho in self.parts.items():
                apart[pairs] = (1 - flipped) * rho
                apart[pairs | {use.pair}] = flipped * rho
            self.parts = apart

    def _before(self, operation: gate.NodeOperation, struck: Sequence[gate.EbitUse]) -> list[gate.EbitUse]:
        """Errors before the gate; those of pairs that carry a wire back come after it."""
        later, gone = [], set()
        for use in struck:
            if use.kind == "cat":
                errors = copy_errors(
                    operation.name, tuple(operation.parameters), list(operation.wires).index(use.wire)
                )
                self._flip(use, np.array(axis_matrix(errors.before)))
            elif use.kind == "kept":
                self._flip(use, np.array(axis_matrix(_PAULIS["x"])))
            elif use.wire in gone:
                later.append(use)
            else:
                self._pauli(use)
                served = reaches(operation.kind, operation.name, len(operation.wires))
                if served and served[list(operation.wires).index(use.wire)] is Reach.THERE_AND_BACK:
                    gone.add(use.wire)
        return later

    def _after(
        self, operation: gate.NodeOperation, struck: Sequence[gate.EbitUse], later: Iterable[gate.EbitUse]
    ) -> None:
        for use in struck:
            if use.kind == "cat":
                errors = copy_errors(
                    operation.name, tuple(operation.parameters), list(operation.wires).index(use.wire)
                )
                self._flip(use, np.array(axis_matrix(errors.after)))
                if use.operation == operation.index:
                    self._phase(use, np.array(axis_matrix(errors.phase)))
            if use.kind != "teleport":
                self._close(use.pair)
        for use in later:
            self._pauli(use)

    def _close(self, pair: int) -> None:
        self.left[pair] -= 1
        if self.left[pair]:
            return
        together: dict[frozenset[int], Matrix] = {}
        for pairs, rho in self.parts.items():
            rest = pairs - {pair}
            together[rest] = together[rest] + rho if rest in together else rho
        self.parts = together

    def _flip(self, use: gate.EbitUse, matrix: Matrix) -> None:
        for pairs in self.parts:
            if use.pair in pairs:
                self.parts[pairs] = self._conjugated(self.parts[pairs], matrix, [use.wire])

    def _phase(self, use: gate.EbitUse, matrix: Matrix) -> None:
        flipped = use.error_x + use.error_y
        for pairs, rho in self.parts.items():
            if use.pair in pairs:
                weight = use.error_y / flipped if flipped else 0.0
            else:
                weight = use.error_z / (1 - flipped) if flipped < 1 else 0.0
            self.parts[pairs] = (1 - weight) * rho + weight * self._conjugated(rho, matrix, [use.wire])

    def _pauli(self, use: gate.EbitUse) -> None:
        weights = {"x": use.error_x, "y": use.error_y, "z": use.error_z}
        for pairs, rho in self.parts.items():
            made = (1 - sum(weights.values())) * rho
            for letter, weight in weights.items():
                made = made + weight * self._conjugated(
                    rho, np.array(axis_matrix(_PAULIS[letter])), [use.wire]
                )
            self.parts[pairs] = made

    def _unitary(self, matrix: Matrix, wires: Sequence[int]) -> None:
        self.parts = {pairs: self._conjugated(rho, matrix, wires) for pairs, rho in self.parts.items()}

    def _wait(self, wire: int, seconds: float, t1: float, t2: float) -> None:
        gamma = 1 - np.exp(-seconds / t1) if t1 else 0.0
        kept = np.exp(-seconds / t2) if t2 else np.sqrt(1 - gamma)
        kept = min(kept, np.sqrt(1 - gamma))
        for pairs, rho in self.parts.items():
            t = self._split(rho, [wire])
            made = t.copy()
            made[0, :, 0, :] += gamma * t[1, :, 1, :]
            made[1, :, 1, :] *= 1 - gamma
            made[0, :, 1, :] *= kept
            made[1, :, 0, :] *= kept
            self.parts[pairs] = self._joined(made, [wire])

    def _depolarise(self, wires: Sequence[int], average: float) -> None:
        d = 2 ** len(wires)
        p = (1 - average) * d / (d - 1)
        for pairs, rho in self.parts.items():
            t = self._split(rho, wires)
            mixed = np.einsum("ij,kl->ikjl", np.eye(d) / d, np.einsum("ikil->kl", t))
            self.parts[pairs] = self._joined((1 - p) * t + p * mixed, wires)

    def _order(self, wires: Sequence[int]) -> list[int]:
        rest = [wire for wire in range(self.qubits) if wire not in wires]
        return [self.qubits - 1 - wire for wire in [*reversed(wires), *reversed(rest)]]

    def _split(self, rho: Matrix, wires: Sequence[int]) -> Matrix:
        """Indices (wires, rest, wires, rest); the first wire is least significant."""
        order, n = self._order(wires), self.qubits
        d = 2 ** len(wires)
        tensor = rho.reshape((2,) * 2 * n).transpose([*order, *[n + axis for axis in order]])
        return tensor.reshape(d, 2**n // d, d, 2**n // d)

    def _joined(self, tensor: Matrix, wires: Sequence[int]) -> Matrix:
        order, n = self._order(wires), self.qubits
        back = [int(axis) for axis in np.argsort([*order, *[n + axis for axis in order]])]
        return tensor.reshape((2,) * 2 * n).transpose(back).reshape(2**n, 2**n)

    def _conjugated(self, rho: Matrix, matrix: Matrix, wires: Sequence[int]) -> Matrix:
        t = self._split(rho, wires)
        return self._joined(np.einsum("ai,ikjl,bj->akbl", matrix, t, matrix.conj(), optimize=True), wires)
