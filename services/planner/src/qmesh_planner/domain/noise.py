"""Advertised fidelities as error probabilities (Nielsen 2002)."""

from __future__ import annotations

from dataclasses import replace

from qmesh_model.circuit import Kind, Operation
from qmesh_model.words import SYNDROME_CODES
from qmesh_planner.domain.topology import Site, Topology


def process_fidelity(average: float, operands: int) -> float:
    """F_pro = ((d + 1) F_avg - 1) / d for d = 2^operands, at least 0."""
    dimension: int = 2**operands
    return max(0.0, ((dimension + 1) * average - 1) / dimension)


def average_fidelity(process: float, operands: int) -> float:
    """F_avg = (d F_pro + 1) / (d + 1) for d = 2^operands."""
    dimension: int = 2**operands
    return (dimension * process + 1) / (dimension + 1)


def operation_fidelity(site: Site, operation: Operation) -> float:
    """Predicted process fidelity of one operation at a site; of reads, and resets, which read, the bits read right."""
    if operation.kind in {Kind.MEASURE, Kind.RESET}:
        return site.readout_fidelity
    if operation.kind in {Kind.DISTILLATION, Kind.BARRIER, Kind.DELAY}:
        return 1.0
    if operation.kind is Kind.SYNDROME:
        return _extraction_fidelity(site, len(operation.qubits))
    return _gate_fidelity(site, operation.service_type, len(operation.qubits))


def _gate_fidelity(site: Site, service_type: str, operands: int, instead: str = "") -> float:
    figure = site.figures.get(service_type, site.figures.get(instead))
    return 1.0 if figure is None else process_fidelity(figure, operands)


def _extraction_fidelity(site: Site, operands: int) -> float:
    """All gates, resets and reads of one extraction; gates without a figure have that of the word, as at the node."""
    code = SYNDROME_CODES[operands]
    cx = _gate_fidelity(site, "cnot", 2, "syndrome_extraction")
    h = _gate_fidelity(site, "hadamard", 1, "syndrome_extraction")
    read: float = site.readout_fidelity ** (2 * code.num_bits)
    return float(cx**code.num_cx * h**code.num_h * read)


def good_enough(topology: Topology, min_fidelity: float) -> Topology:
    """The topology with `syndrome_extraction` for no code whose predicted average fidelity is too low at a site."""
    return replace(topology, sites=tuple(_limited(site, min_fidelity) for site in topology.sites))


def _limited(site: Site, min_fidelity: float) -> Site:
    offer = site.offers.get("syndrome_extraction")
    if offer is None:
        return site
    widest = max(
        (n for n in SYNDROME_CODES if average_fidelity(_extraction_fidelity(site, n), n) >= min_fidelity),
        default=0,
    )
    limited = replace(offer, qubit_max=min(offer.qubit_max, widest))
    return replace(site, offers=site.offers | {"syndrome_extraction": limited})


def error_probability(site: Site, operation: Operation) -> float:
    """Probability that an error is drawn for one operation on the state."""
    return 0.0 if operation.kind is Kind.MEASURE else 1.0 - operation_fidelity(site, operation)
