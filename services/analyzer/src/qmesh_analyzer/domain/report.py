"""Puts the quantum result together: every field, or null with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_analyzer.domain import executed as runs
from qmesh_analyzer.domain import fields, generators
from qmesh_analyzer.domain.affine import AffineOutcomes
from qmesh_analyzer.domain.clifford import CliffordIdeal, clifford_ideal
from qmesh_analyzer.domain.conditions import Column
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.fields import Mixture
from qmesh_analyzer.domain.ideal import MAX_QUBITS, Ideal, ideal_of
from qmesh_analyzer.domain.kernels import Reals
from qmesh_analyzer.domain.outcomes import Exact, Outcomes, hellinger
from qmesh_analyzer.domain.tableaux import overlaps, recorded_symbols

Document = dict[str, Any]
"""Values as JSON has them."""

FULL_STATE_QUBITS = 12
LISTED_OUTCOMES = 1 << FULL_STATE_QUBITS
NO_PURE_STATE = "NO_PURE_STATE"
_TARGET = "ideal pre-measurement state of the submitted circuit"
_TOO_WIDE = f"TOO_WIDE: above {FULL_STATE_QUBITS} qubits only top_basis_states are listed"
_TOO_WIDE_GENERATORS = f"TOO_WIDE: above {FULL_STATE_QUBITS} qubits see stabilizer_generators"
_OF_AMPLITUDES = ("statevector", "entanglement_entropy", "top_basis_states")
_OF_IDEAL = (
    "probabilities",
    "measured_probabilities",
    "observable_expectations",
    "reduced_density_matrices",
    "bloch_vectors",
    "distribution_fidelity",
    *_OF_AMPLITUDES,
)


def _pairs(values: NDArray[np.complex128]) -> list[list[float]]:
    reals = np.ascontiguousarray(values).view(np.float64)
    pairs: list[list[float]] = reals.reshape(*values.shape, 2).tolist()
    return pairs


@lru_cache(maxsize=FULL_STATE_QUBITS + 1)
def _basis(num_qubits: int) -> list[str]:
    return [f"{index:0{num_qubits}b}" for index in range(1 << num_qubits)]


class Report:
    """One analysis."""

    def __init__(self, header: analysis.AnalysisHeader, blobs: Sequence[tuple[bytes, int]]) -> None:
        """Takes the header, and of each component in its order the bytes and how many of them are rows."""
        self._header = header
        self._blobs = blobs
        self._form: circuit.Circuit = header.circuit
        self._reasons: dict[str, str] = {}
        self._document: Document = {}
        self._components: list[runs.Rows] = []

    @property
    def code(self) -> str:
        """Stable code of the first field that is missing against expectation; empty when the analysis is complete."""
        codes = [reason.partition(":")[0] for reason in self._reasons.values()]
        return next((code for code in codes if code != NO_PURE_STATE), "")

    def build(self) -> Document:
        """The document.

        Raises:
            AnalysisError: INVALID_ARGUMENT, the request makes no sense.
        """
        self._document = {
            "counts": dict(self._header.counts),
            "shots": self._header.shots,
            "measured_qubits": self._measured(),
            "predicted_fidelity": self._header.predicted_fidelity,
            "method": None,
        }
        clifford = clifford_ideal(self._form) if self._by_generators() else None
        if clifford is not None:
            self._from_generators(clifford)
        else:
            self._from_amplitudes()
        self._document["reasons"] = self._reasons
        return self._document

    def _by_generators(self) -> bool:
        """Whether a Clifford circuit is followed by generators: where amplitudes would not be listed anyway."""
        n = self._form.num_qubits
        tableaux = all(ref.executor == state.EXECUTOR_KIND_STABILIZER for ref in self._header.rows)
        return n > FULL_STATE_QUBITS and (n > MAX_QUBITS or tableaux)

    def _from_amplitudes(self) -> None:
        ideal = self._try(_OF_IDEAL, lambda: ideal_of(self._form))
        self._document["ideal_method"] = None if ideal is None else ideal.method
        if ideal is not None:
            self._states(ideal)
            self._distribution(lambda: Outcomes(self._form, ideal))
        self._compare(ideal)

    def _from_generators(self, ideal: CliffordIdeal) -> None:
        self._document["ideal_method"] = "stabilizer"
        pure, n = ideal.state, self._form.num_qubits
        found, vectors = self._moments(
            generators.IdealMoments(pure), lambda letters: generators.ideal_expectation(pure, letters)
        )
        self._document |= found
        self._null(_TOO_WIDE, "probabilities")
        if ideal.dynamic:
            self._null(NO_PURE_STATE, *_OF_AMPLITUDES)
        else:
            self._null(_TOO_WIDE_GENERATORS, "statevector")
            self._document["stabilizer_generators"] = generators.strings(pure)
            self._document["top_basis_states"] = generators.top_states(pure)
            self._document["entanglement_entropy"] = {
                f"q{q}|rest": fields.entropy(vectors[q].tolist()) for q in range(n)
            }
        self._distribution(lambda: AffineOutcomes(self._form, ideal.bits))
        self._compare_generators(ideal)

    def _moments(
        self,
        moments: generators.IdealMoments | generators.ExecutedMoments,
        expectation: Callable[[str], float],
    ) -> tuple[dict[str, object], NDArray[np.float64]]:
        """The fields that ideal and executed states both have, and the Bloch vectors."""
        vectors, n = moments.singles(), self._form.num_qubits
        zz = xx = None
        if n <= generators.MAX_PAIRS_QUBITS:
            zz, xx = moments.pairs("Z"), moments.pairs("X")
        else:
            self._reasons["observable_expectations.pairs"] = (
                f"TOO_MANY_PAIRS: above {generators.MAX_PAIRS_QUBITS} qubits pairs are not listed; ask for observables"
            )
        expectations: dict[str, float | None] = dict(generators.named(vectors[:, 2], zz, xx))
        for wanted in self._header.observables:
            try:
                generators.check_strings(wanted, n)
                expectations[wanted.name] = sum(
                    term.coefficient * expectation(term.paulis) for term in wanted.terms
                )
            except AnalysisError as error:
                expectations[wanted.name] = None
                self._reasons[f"observable_expectations.{wanted.name}"] = f"{error.code}: {error.message}"
        rhos = generators.density_matrices(vectors)
        found: dict[str, object] = {
            "observable_expectations": expectations,
            "reduced_density_matrices": {f"q{q}": _pairs(rho) for q, rho in enumerate(rhos)},
            "bloch_vectors": {f"q{q}": vector for q, vector in enumerate((vectors + 0.0).tolist())},
        }
        return found, vectors

    def _compare_generators(self, ideal: CliffordIdeal) -> None:
        compared = ("fidelity_to_target_state", "conditional_fidelity")
        fidelity = self._begin_fidelity()
        if not ideal.dynamic and self._by_holders(fidelity):
            return
        executed = None
        if self._has_rows():
            executed = self._try(("executed",), lambda: runs.decode_tableaux(self._header, self._blobs))
        if executed is None:
            self._reasons |= dict.fromkeys(compared, self._reasons["executed"])
            return
        shots = self._header.shots
        moments = generators.ExecutedMoments(self._form.num_qubits, executed, shots)
        found, _ = self._moments(moments, moments.expectation)
        histories = sum(len(part.minus) for part in executed)
        self._document["executed"] = {"distinct_states": histories} | found
        self._document["method"] = "stabilizer"

        def compare() -> runs.Estimate:
            known, possible = recorded_symbols(ideal.bits, ideal.recorded, self._columns(), shots)
            return runs.mean_of(overlaps(ideal.state, executed, shots, known) * possible)

        estimate = self._try(compared, compare) if ideal.dynamic else compare()
        if estimate is None:
            return
        if ideal.dynamic:
            self._reasons["fidelity_to_target_state"] = NO_PURE_STATE
        else:
            self._tell_target(fidelity, estimate)
        self._tell_conditional(estimate)

    def _measured(self) -> list[int]:
        return sorted(
            {op.qubits[0] for op in self._form.operations if op.kind == circuit.OPERATION_KIND_MEASURE}
        )

    def _null(self, reason: str, *names: str) -> None:
        for name in names:
            self._document[name] = None
            self._reasons[name] = reason

    def _try[Value](self, names: Sequence[str], make: Callable[[], Value]) -> Value | None:
        """A value, or None with these fields null for the reason; what is invalid is refused as a whole."""
        try:
            return make()
        except AnalysisError as error:
            if error.code == "INVALID_ARGUMENT":
                raise
            self._null(f"{error.code}: {error.message}", *names)
            return None

    def _insight(self, mixture: Mixture, probabilities: Reals) -> tuple[dict[str, object], list[list[float]]]:
        """The fields that ideal and executed states both have, and the Bloch vectors."""
        rhos = fields.density_matrices(mixture)
        vectors = [fields.bloch(rho) for rho in rhos]
        expectations: dict[str, float | None] = dict(fields.expectations(mixture, probabilities))
        for wanted in self._header.observables:
            try:
                expectations[wanted.name] = fields.observable(mixture, wanted)
            except AnalysisError as error:
                expectations[wanted.name] = None
                self._reasons[f"observable_expectations.{wanted.name}"] = f"{error.code}: {error.message}"
        found: dict[str, object] = {
            "observable_expectations": expectations,
            "reduced_density_matrices": {f"q{q}": _pairs(rho) for q, rho in enumerate(rhos)},
            "bloch_vectors": {f"q{q}": vector for q, vector in enumerate(vectors)},
        }
        return found, vectors

    def _states(self, ideal: Ideal) -> None:
        mixture = Mixture(ideal.states, ideal.weights)
        weights = mixture.probabilities()
        found, vectors = self._insight(mixture, weights)
        self._document |= found
        n = self._form.num_qubits
        if n <= FULL_STATE_QUBITS:
            support = np.flatnonzero(weights > 1e-14)  # noqa: PLR2004 - what is less is rounding
            labels = _basis(n)
            self._document["probabilities"] = {
                labels[i]: p for i, p in zip(support.tolist(), weights[support].tolist(), strict=True)
            }
        else:
            self._null(_TOO_WIDE, "probabilities")
        if ideal.pure is None:
            self._null(NO_PURE_STATE, *_OF_AMPLITUDES)
            return
        amplitudes = ideal.pure[0]
        self._document["entanglement_entropy"] = {
            f"q{q}|rest": fields.entropy(vector) for q, vector in enumerate(vectors)
        }
        self._document["top_basis_states"] = [
            {
                "basis": f"{index:0{n}b}",
                "probability": float(weights[index]),
                "amplitude": [float(amplitudes[index].real), float(amplitudes[index].imag)],
            }
            for index in fields.top(weights)
        ]
        if n <= FULL_STATE_QUBITS:
            self._document["statevector"] = _pairs(amplitudes)
        else:
            self._null(_TOO_WIDE, "statevector")

    def _distribution(self, outcomes: Callable[[], Exact]) -> None:
        names = ("measured_probabilities", "distribution_fidelity")
        if all(version < 0 for version in self._form.final_versions):
            self._document["measured_probabilities"] = {}
            self._null("NOTHING_MEASURED", "distribution_fidelity")
            return
        exact = self._try(names, outcomes)
        if exact is None:
            return
        if exact.size <= LISTED_OUTCOMES:
            self._document["measured_probabilities"] = exact.mapping()
        else:
            self._null(f"TOO_MANY_OUTCOMES: more than {LISTED_OUTCOMES:,} are not listed", names[0])
        if not sum(self._header.counts.values()):
            self._null(
                "TOO_MANY_COUNTS: more different outcomes were counted than are compared",
                "distribution_fidelity",
            )
            return
        value, expected = hellinger(self._header.counts, exact)
        self._document["distribution_fidelity"] = {
            "hellinger": value,
            "expected_under_sampling": expected,
            "outcomes": exact.size,
        }

    def _begin_fidelity(self) -> dict[str, object]:
        fidelity: dict[str, object] = {
            "target_state": _TARGET,
            "fidelity_to_target_state": None,
            "stderr": None,
            "estimated_execution_fidelity": self._header.estimated_execution_fidelity,
        }
        self._document["fidelity"] = fidelity
        self._document["conditional_fidelity"] = None
        return fidelity

    def _by_holders(self, fidelity: dict[str, object]) -> bool:
        """Takes over what the holders found, where they compared the rows."""
        if not self._header.HasField("overlap"):
            return False
        found = self._header.overlap
        self._has_rows()
        stderr = found.stderr if found.HasField("stderr") else None
        self._tell(fidelity, runs.Estimate(found.fidelity, stderr), lower_bound=found.lower_bound)
        self._document["method"] = "holder-overlap"
        return True

    def _by_factors(self, fidelity: dict[str, object], ideal: Ideal) -> bool:
        """Compares component by component where the executed states of the whole register would not fit."""
        if ideal.pure is None or not self._components:
            return False
        target = ideal.pure
        estimate, lower_bound = runs.fidelity_by_factors(target, self._components, self._header.shots)
        self._tell(fidelity, estimate, lower_bound=lower_bound)
        self._document["method"] = "rows"
        return True

    def _tell(self, fidelity: dict[str, object], estimate: runs.Estimate, *, lower_bound: bool) -> None:
        """Fidelity to a single target; without outcomes nothing is conditional."""
        self._tell_target(fidelity, estimate)
        self._tell_conditional(estimate)
        if lower_bound:
            self._reasons["fidelity_to_target_state"] = (
                "LOWER_BOUND: the ideal state is entangled over the executed components, in too many terms"
            )

    def _compare(self, ideal: Ideal | None) -> None:
        fidelity = self._begin_fidelity()
        compared = ("fidelity_to_target_state", "conditional_fidelity")
        if ideal is not None and ideal.pure is not None and self._by_holders(fidelity):
            return
        executed = self._executed()
        if executed is None and ideal is not None and self._by_factors(fidelity, ideal):
            return
        if executed is None or ideal is None:
            reason = self._reasons["executed"] if executed is None else self._reasons["statevector"]
            self._reasons |= dict.fromkeys(compared, reason)
            return
        self._document["method"] = "rows"
        if ideal.pure is not None:
            estimate = runs.fidelity(ideal.pure, executed)
            self._tell_target(fidelity, estimate)
        else:
            self._reasons["fidelity_to_target_state"] = NO_PURE_STATE
        conditional = self._try(
            compared[1:], lambda: runs.conditional_fidelity(ideal, executed, self._columns())
        )
        if conditional is not None:
            self._tell_conditional(conditional)

    def _tell_target(self, fidelity: dict[str, object], estimate: runs.Estimate) -> None:
        fidelity |= {"fidelity_to_target_state": estimate.value, "stderr": self._stderr(estimate)}

    def _tell_conditional(self, estimate: runs.Estimate) -> None:
        self._document["conditional_fidelity"] = {"value": estimate.value, "stderr": self._stderr(estimate)}

    def _stderr(self, estimate: runs.Estimate) -> float | None:
        return (estimate.with_unseen(self._header.shots) if self._header.noise else estimate).stderr

    def _columns(self) -> dict[int, Column]:
        shots = self._header.shots
        if any(len(column) != (shots + 7) // 8 for column in self._header.columns.values()):
            raise AnalysisError("INVALID_ARGUMENT", "a recorded column does not have one bit for each shot")
        return {
            version: np.unpackbits(
                np.frombuffer(bits, dtype=np.uint8), count=shots, bitorder="little"
            ).astype(np.bool_)
            for version, bits in self._header.columns.items()
        }

    def _has_rows(self) -> bool:
        if not self._header.rows:
            self._null(f"NO_ROWS: {self._header.rows_missing_reason or 'no rows were fetched'}", "executed")
        return bool(self._header.rows)

    def _executed(self) -> runs.Executed | None:
        if not self._has_rows():
            return None

        def made() -> runs.Executed:
            self._components = runs.decode(self._header, self._blobs)
            return runs.combine(self._form.num_qubits, self._components, self._header.shots)

        executed = self._try(("executed",), made)
        if executed is not None:
            mixture = executed.mixture()
            found, _ = self._insight(mixture, mixture.probabilities())
            self._document["executed"] = {"distinct_states": len(executed.states)} | found
        return executed
