"""Advertised fidelities as error probabilities (physics.md section 1; Nielsen 2002)."""

from __future__ import annotations

from qmesh_model.circuit import Kind, Operation
from qmesh_planner.domain.topology import Site


def process_fidelity(average: float, operands: int) -> float:
    """F_pro = ((d + 1) F_avg - 1) / d for d = 2^operands, at least 0."""
    dimension: int = 2**operands
    return max(0.0, ((dimension + 1) * average - 1) / dimension)


def operation_fidelity(site: Site, operation: Operation) -> float:
    """Predicted process fidelity of one operation at a site; for measurements the fraction of bits read right."""
    if operation.kind is Kind.MEASURE:
        return site.readout_fidelity
    if operation.kind in {Kind.RESET, Kind.DISTILLATION, Kind.BARRIER, Kind.DELAY}:
        return 1.0
    if operation.kind is Kind.SYNDROME and len(operation.qubits) == 1:
        return 1.0
    offer = site.offers.get(operation.service_type)
    return 1.0 if offer is None else process_fidelity(offer.fidelity, len(operation.qubits))


def error_probability(site: Site, operation: Operation) -> float:
    """Probability that an error is drawn for one operation on the state."""
    return 0.0 if operation.kind is Kind.MEASURE else 1.0 - operation_fidelity(site, operation)
