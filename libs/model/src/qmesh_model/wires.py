"""Wires: where the state of a qubit is, as unconditioned swaps and teleportations move it about.

A wire is an axis of some component's amplitudes. Relabelling moves qubit names between wires; it never joins
components, and a plain swap is no work for any node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qmesh_model.circuit import Circuit, Kind


@dataclass(frozen=True, slots=True)
class WireTrack:
    """Wires of every operation, before it relabels, and of every qubit at the end."""

    of_operation: tuple[tuple[int, ...], ...]
    final: tuple[int, ...]


def track_wires(circuit: Circuit) -> WireTrack:
    """Follows qubits through a circuit; at the start qubit q is on wire q."""
    where = list(range(circuit.num_qubits))
    touched: list[tuple[int, ...]] = []
    for operation in circuit.operations:
        touched.append(tuple(where[q] for q in operation.qubits))
        if operation.kind in {Kind.SWAP, Kind.TELEPORT}:
            a, b = operation.qubits
            where[a], where[b] = where[b], where[a]
    return WireTrack(tuple(touched), tuple(where))


def inverse(final: Sequence[int]) -> dict[int, int]:
    """Qubit of each wire at the end."""
    return {wire: qubit for qubit, wire in enumerate(final)}
