"""Random draws: a pure function of (job seed, shot, operation, purpose, draw, parameter set).

The layout is that of the execution model: Philox4x64-10, key = seed, counter words = (shot, operation index,
purpose x 2^32 + draw, parameter set); u = (first word >> 11) x 2^-53.
Reference: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh_model.randomness import CERTAIN, DRAW_BITS, UNIT, Purpose

Uniforms = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draws:
    """All draws of one slice of shots of one job."""

    seed: int
    first_shot: int
    shots: int
    parameter_set: int = 0

    def uniforms(self, operation: int, purpose: Purpose, draw: int = 0) -> Uniforms:
        """Uniform numbers in [0, 1) for one draw of one operation, one for each shot: shape (shots,)."""
        counter = np.array(
            [self.first_shot, operation, (int(purpose) << DRAW_BITS) + draw, self.parameter_set],
            dtype=np.uint64,
        )
        words = np.random.Philox(key=self.seed, counter=counter).random_raw(4 * self.shots)[::4]
        return (words >> np.uint64(11)).astype(np.float64) * UNIT


def outcomes(uniforms: Uniforms, zero_probability: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Measured bits: 1 iff u >= P(0), with P below 1e-12 taken as 0 and above 1 - 1e-12 as 1."""
    low, high = zero_probability < CERTAIN, zero_probability > 1 - CERTAIN
    return uniforms >= np.where(low, 0.0, np.where(high, 1.0, zero_probability))
