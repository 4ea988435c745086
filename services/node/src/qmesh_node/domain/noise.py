"""Noise of a node as trajectory errors: depolarising gates and flipped reads.

An advertised average gate fidelity F of a d-dimensional gate becomes a Pauli channel whose process fidelity is
F_pro = ((d + 1) F - 1) / d; the error probability 1 - F_pro is spread evenly over the d^2 - 1 other Paulis.
Reference: Nielsen, Phys. Lett. A 303 (2002) 249.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.pairs import PauliWeights
from qmesh_node.domain.randomness import Uniforms


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Controlled degradation, for experiments; adverts say nothing of it.

    Attributes:
        true_fidelity: average gate fidelity used instead of the profile's, with noise on.
        delay_seconds: added to each execution, noise on or off.
        drop: probability that a request is never answered, noise on or off.
        drift_per_hour: loss of average gate fidelity for each hour since the start, with noise on.
    """

    true_fidelity: float | None = None
    delay_seconds: float = 0.0
    drop: float = 0.0
    drift_per_hour: float = 0.0

    def profile(self, asked: gate.NoiseProfile, uptime_seconds: float) -> gate.NoiseProfile:
        """The profile with which errors are really drawn."""
        if self.true_fidelity is None and not self.drift_per_hour:
            return asked
        used = gate.NoiseProfile()
        used.CopyFrom(asked)
        loss = self.drift_per_hour * uptime_seconds / 3600
        for table in (used.service_fidelity, used.gate_fidelity):
            for name, value in list(table.items()):
                base = value if self.true_fidelity is None else self.true_fidelity
                table[name] = max(0.0, base - loss)
        return used


@dataclass(frozen=True, slots=True)
class Estimate:
    """Observed fidelity: value and 99.7 % Wilson interval."""

    value: float
    low: float
    high: float


_Z = 2.968  # 99.7 % two-sided


def wilson(good: int, count: int) -> Estimate:
    """Fraction of good trials with its 99.7 % interval. Reference: Wilson, JASA 22 (1927) 209."""
    if count == 0:
        return Estimate(1.0, 0.0, 1.0)
    f = good / count
    centre = (f + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * np.sqrt(f * (1 - f) / count + _Z**2 / (4 * count**2))
    return Estimate(f, float(max(0.0, centre - half)), float(min(1.0, centre + half)))


def average_gate_fidelity(estimate: Estimate, qubits: int) -> Estimate:
    """Average gate fidelity (d f + 1) / (d + 1) from a fraction of trajectories without error."""
    d = 2.0**qubits
    return replace(
        estimate,
        value=(d * estimate.value + 1) / (d + 1),
        low=(d * estimate.low + 1) / (d + 1),
        high=(d * estimate.high + 1) / (d + 1),
    )


def gate_error(profile: gate.NoiseProfile, name: str, service_type: str, qubits: int) -> float:
    """Probability that a gate draws an error that is not the identity."""
    average = profile.gate_fidelity.get(name, profile.service_fidelity.get(service_type, 1.0))
    d = 2.0**qubits
    process = ((d + 1) * average - 1) / d
    return float(min(1.0, max(0.0, 1.0 - process)))


def draw_paulis(
    uniforms: Uniforms, error: float, qubits: int, active: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Number of the drawn Pauli for each shot, base 4, first operand least significant; 0 is no error."""
    others = 4**qubits - 1
    hit = uniforms < error
    if active is not None:
        hit = hit & active
    scaled = np.minimum((uniforms / error * others).astype(np.int64), others - 1) if error > 0 else 0
    return np.where(hit, scaled + 1, 0)


def letters_of(uniforms: Uniforms, weights: PauliWeights) -> NDArray[np.int64]:
    """Letter of the drawn error for each shot: 0 none, 1 X, 2 Y, 3 Z."""
    edges = np.cumsum([weights.x, weights.y, weights.z])
    return np.where(uniforms < edges[2], 1 + np.searchsorted(edges[:2], uniforms, side="right"), 0)
