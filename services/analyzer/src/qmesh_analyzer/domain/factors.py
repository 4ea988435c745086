"""An ideal state as a sum of products over components.

When the plan is right there is one term: wires that never interact have a product state. When it is not, so that the ideal state is
entangled over the components that were executed, the terms say exactly how, and the fidelity shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.ideal import ideal_of, is_dynamic
from qmesh_analyzer.domain.kernels import States

MOST_TERMS = 64
_ROUNDING = 1e-10
"""Norm of what may be left over without being a term."""

_Vector = NDArray[np.complex128]
_Product = tuple[float, list[_Vector]]


@dataclass(frozen=True, slots=True)
class Factors:
    """sum over k of weights[k] x product over components c of vectors[c][k], plus a remainder.

    Attributes:
        weights: weights, shape (K,), K at least 1; positive, or a single 0 where nothing of the state can have been executed.
        vectors: for each component its normalised factors, shape (K, 2^n), the first qubit least significant.
        remainder: bound on the norm of what the terms leave out; 0 where that is rounding.
    """

    weights: NDArray[np.float64]
    vectors: list[States]
    remainder: float


def factors_of(state: _Vector, components: Sequence[Sequence[int]], most: int = MOST_TERMS) -> Factors:
    """Decomposes a state; what qubits of no component have beside |0> is left out, since it cannot have been executed.

    Args:
        state: 2^n amplitudes, qubit 0 least significant.
        components: qubits of each component in axis order, the first least significant; no qubit twice.
        most: number of terms above which the rest is a remainder.

    Raises:
        AnalysisError: INVALID_ARGUMENT, the components are not made of the state's qubits.
    """
    qubits = state.size.bit_length() - 1
    named = [qubit for component in components for qubit in component]
    if not all(components) or len(set(named)) != len(named) or not set(named) <= set(range(qubits)):
        raise AnalysisError(
            "INVALID_ARGUMENT", "the components are not made of the circuit's qubits, each once"
        )
    order = sorted(
        range(len(components)), key=lambda c: len(components[c])
    )  # the widest has the fewest terms last
    axes = [qubits - 1 - qubit for c in order for qubit in reversed(components[c])]
    rest = [axis for axis in range(qubits) if axis not in axes]
    tensor = state.reshape((2,) * qubits).transpose([*axes, *rest])
    kept = np.ascontiguousarray(tensor.reshape(1 << len(named), -1)[:, 0])
    sizes = [1 << len(components[c]) for c in order]
    products, remainder = _products(kept, sizes, most)
    if not products:
        products = [(0.0, [np.eye(1, size, dtype=np.complex128)[0] for size in sizes])]
    found: dict[int, States] = {}
    for place, c in enumerate(order):
        found[c] = np.stack([parts[place] for _, parts in products])
    weights = np.array([weight for weight, _ in products])
    return Factors(
        weights, [found[c] for c in range(len(components))], remainder if remainder > _ROUNDING else 0.0
    )


def ideal_factors(request: analysis.FactorRequest) -> Factors:
    """Factors of a circuit's ideal state over components that are given by their wires.

    Raises:
        AnalysisError: there is no single ideal state, it is too wide, or the request makes no sense.
    """
    form = request.circuit
    if is_dynamic(form):
        raise AnalysisError("NO_PURE_STATE", "outcomes or conditions leave no single ideal state")
    qubit_of_wire = {wire: qubit for qubit, wire in enumerate(request.final_wires)}
    if not request.components or any(
        wire not in qubit_of_wire for component in request.components for wire in component.wires
    ):
        raise AnalysisError("INVALID_ARGUMENT", "the components name wires that the circuit does not end on")
    components = [[qubit_of_wire[wire] for wire in component.wires] for component in request.components]
    return factors_of(ideal_of(form).states[0], components)


def _products(state: _Vector, sizes: Sequence[int], most: int) -> tuple[list[_Product], float]:
    """Weighted products of normalised vectors, most significant part first, and a bound on the norm of what is left."""
    if len(sizes) == 1:
        norm = float(np.linalg.norm(state))
        return ([(norm, [state / norm])] if norm > _ROUNDING else []), 0.0
    crosses, remainder = _crosses(state.reshape(sizes[0], -1), most)
    made: list[_Product] = []
    for column, row in crosses:
        size = float(np.linalg.norm(column))
        further, left = _products(row, sizes[1:], most - len(made))
        made += [(size * weight, [column / size, *parts]) for weight, parts in further]
        remainder += size * left
    return made, remainder


def _crosses(matrix: States, most: int) -> tuple[list[tuple[_Vector, _Vector]], float]:
    """A matrix as a sum of columns times rows, by elimination with complete pivoting, and the norm of what is left."""
    left = matrix.copy()
    made: list[tuple[_Vector, _Vector]] = []
    while (norm := float(np.linalg.norm(left))) > _ROUNDING and len(made) < most:
        reals = left.view(np.float64)
        place = int(np.argmax(np.einsum("ijc,ijc->ij", *(reals.reshape(*left.shape, 2),) * 2)))
        i, j = divmod(place, left.shape[1])
        column, row = left[:, j].copy(), left[i] / left[i, j]
        left -= column[:, None] * row
        made.append((column, row))
    return made, norm
