"""Puts the quantum result together: every field, or null with its reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain import executed as runs
from qmesh_analyzer.domain import fields
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.ideal import Ideal, Vector, ideal_of

FULL_STATE_QUBITS = 12
NO_PURE_STATE = "NO_PURE_STATE"


def _pairs(vector: Vector) -> list[list[float]]:
    return [[float(v.real), float(v.imag)] for v in vector]


def _matrix(rho: fields.Matrix) -> list[list[list[float]]]:
    return [_pairs(row) for row in rho]


class Report:
    """One analysis."""

    def __init__(self, header: analysis.AnalysisHeader, blobs: Sequence[tuple[bytes, int]]) -> None:
        """Takes the header and the bytes of every component in its order."""
        self._header = header
        self._blobs = blobs
        self._form: circuit.Circuit = header.circuit
        self._reasons: dict[str, str] = {}
        self._document: dict[str, object] = {}

    def build(self) -> tuple[dict[str, object], bool]:
        """The document, and whether every field could be computed."""
        self._document = {
            "shots": self._header.shots,
            "counts": dict(self._header.counts),
            "measured_qubits": self._measured(),
            "predicted_fidelity": self._header.predicted_fidelity,
        }
        ideal = None
        try:
            ideal = ideal_of(self._form)
        except AnalysisError as error:
            self._without_ideal(error)
        if ideal is not None:
            self._states(ideal)
            self._distribution(ideal)
        self._compare(ideal)
        self._document["reasons"] = self._reasons
        return self._document, not (set(self._reasons.values()) - {NO_PURE_STATE})

    def _measured(self) -> list[int]:
        return sorted(
            {op.qubits[0] for op in self._form.operations if op.kind == circuit.OPERATION_KIND_MEASURE}
        )

    def _without_ideal(self, error: AnalysisError) -> None:
        for name in (
            "probabilities",
            "measured_probabilities",
            "statevector",
            "observable_expectations",
            "reduced_density_matrices",
            "bloch_vectors",
            "entanglement_entropy",
            "top_basis_states",
            "distribution_fidelity",
        ):
            self._null(name, f"{error.code}: {error.message}")

    def _null(self, name: str, reason: str) -> None:
        self._document[name] = None
        self._reasons[name] = reason

    def _states(self, ideal: Ideal) -> None:
        n = self._form.num_qubits
        weights = fields.probabilities(ideal)
        mixture = [(branch.state, branch.probability) for branch in ideal.branches]
        rhos = fields.density_matrices(mixture)
        expectations = fields.expectations(mixture)
        for wanted in self._header.observables:
            expectations[wanted.name] = fields.observable(mixture, wanted)
        self._document |= {
            "observable_expectations": expectations,
            "reduced_density_matrices": {f"q{q}": _matrix(rho) for q, rho in enumerate(rhos)},
            "bloch_vectors": {f"q{q}": fields.bloch(rho) for q, rho in enumerate(rhos)},
        }
        if n <= FULL_STATE_QUBITS:
            support = np.flatnonzero(weights > 1e-14)  # noqa: PLR2004 - rounding, not probability
            self._document["probabilities"] = {f"{i:0{n}b}": float(weights[i]) for i in support}
        else:
            self._null("probabilities", f"n > {FULL_STATE_QUBITS}: see top_basis_states")
        self._pure(ideal, weights, rhos)

    def _pure(
        self, ideal: Ideal, weights: fields.Probabilities, rhos: Sequence[fields.Matrix]
    ) -> None:
        n = self._form.num_qubits
        state = ideal.pure
        if state is None:
            for name in ("statevector", "entanglement_entropy", "top_basis_states"):
                self._null(name, NO_PURE_STATE)
            return
        self._document["entanglement_entropy"] = {
            f"q{q}|rest": fields.entropy(rho) for q, rho in enumerate(rhos)
        }
        self._document["top_basis_states"] = [
            {
                "basis": f"{index:0{n}b}",
                "probability": float(weights[index]),
                "amplitude": [float(state[index].real), float(state[index].imag)],
            }
            for index in fields.top(weights)
        ]
        if n <= FULL_STATE_QUBITS:
            self._document["statevector"] = _pairs(state)
        else:
            self._null("statevector", f"n > {FULL_STATE_QUBITS}: see top_basis_states")

    def _distribution(self, ideal: Ideal) -> None:
        exact = fields.outcome_distribution(self._form, ideal)
        if exact is None:
            self._null("measured_probabilities", "more than 65,536 outcomes")
            self._null("distribution_fidelity", "more than 65,536 outcomes")
            return
        if not self._form.bit_registers or not self._header.counts:
            self._document["measured_probabilities"] = {}
            self._null("distribution_fidelity", "nothing is measured")
            return
        self._document["measured_probabilities"] = exact
        value, expected = runs.hellinger(self._header.counts, exact)
        self._document["distribution_fidelity"] = {
            "hellinger": value,
            "expected_under_sampling": expected,
            "outcomes": len(exact),
        }

    def _compare(self, ideal: Ideal | None) -> None:
        fidelity: dict[str, object] = {
            "target_state": "ideal pre-measurement state of the submitted circuit",
            "fidelity_to_target_state": None,
            "stderr": None,
            "estimated_execution_fidelity": self._header.estimated_execution_fidelity,
        }
        self._document["fidelity"] = fidelity
        self._document["conditional_fidelity"] = None
        self._document["method"] = None
        executed = self._executed()
        if executed is None:
            self._reasons["fidelity_to_target_state"] = self._reasons["executed"]
            return
        if ideal is None:
            self._reasons["fidelity_to_target_state"] = "no ideal state to compare with"
            return
        self._document["method"] = "rows"
        if ideal.pure is not None:
            estimate = runs.fidelity(ideal.pure, executed)
            fidelity |= {"fidelity_to_target_state": estimate.value, "stderr": estimate.stderr}
        else:
            self._reasons["fidelity_to_target_state"] = NO_PURE_STATE
        estimate = runs.conditional_fidelity(ideal, executed, self._columns())
        self._document["conditional_fidelity"] = {"value": estimate.value, "stderr": estimate.stderr}

    def _columns(self) -> dict[int, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        shots = self._header.shots
        return {
            version: np.unpackbits(
                np.frombuffer(bits, dtype=np.uint8), count=shots, bitorder="little"
            ).astype(np.bool_)
            for version, bits in self._header.columns.items()
        }

    def _executed(self) -> runs.Executed | None:
        if not self._blobs:
            self._null("executed", self._header.rows_missing_reason or "no rows were fetched")
            return None
        try:
            components = runs.decode(self._header, self._blobs)
            executed = runs.combine(self._form.num_qubits, components, self._header.shots)
        except AnalysisError as error:
            self._null("executed", f"{error.code}: {error.message}")
            return None
        mixture = executed.mixture()
        rhos = fields.density_matrices(mixture)
        self._document["executed"] = {
            "distinct_states": len(executed.states),
            "observable_expectations": fields.expectations(mixture)
            | {o.name: fields.observable(mixture, o) for o in self._header.observables},
            "reduced_density_matrices": {f"q{q}": _matrix(rho) for q, rho in enumerate(rhos)},
            "bloch_vectors": {f"q{q}": fields.bloch(rho) for q, rho in enumerate(rhos)},
        }
        return executed
