"""Result document of a job: execution truth beside quantum insight (the HTTP surface's field names)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_runtime.domain.counts import measured_qubits
from qmesh_runtime.domain.truth import BlockTruth

_INSIGHT = (
    "probabilities",
    "measured_probabilities",
    "statevector",
    "observable_expectations",
    "reduced_density_matrices",
    "bloch_vectors",
    "entanglement_entropy",
    "fidelity",
    "top_basis_states",
    "executed",
    "conditional_fidelity",
    "distribution_fidelity",
)
_HEAVY = ("probabilities", "statevector", "reduced_density_matrices", "executed")


def iso(unix_seconds: float) -> str | None:
    """ISO-8601 in UTC; None for 0."""
    if not unix_seconds:
        return None
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def fragment_results(
    plan: planning.Plan,
    truths: Sequence[BlockTruth],
    names: Mapping[str, str],
    reservations: Mapping[str, str],
) -> list[dict[str, object]]:
    """Execution truth: who ran what, when, how often, with which observed fidelity."""
    fragments = {fragment.fragment_id: fragment for fragment in plan.fragments}
    rows: list[dict[str, object]] = []
    for truth in truths:
        for result in truth.record.fragments:
            planned = fragments.get(result.fragment_id)
            rows.append(_row(truth, result, planned, names, reservations) | {"stage": truth.stage})
    order = {fragment_id: number for number, fragment_id in enumerate(fragments)}
    rows.sort(key=lambda row: (row["parameter_set"], row["slice"], order.get(str(row["fragment_id"]), 0)))
    return rows


def _row(
    truth: BlockTruth,
    result: gate.FragmentResult,
    planned: planning.Fragment | None,
    names: Mapping[str, str],
    reservations: Mapping[str, str],
) -> dict[str, object]:
    record = truth.record
    return {
        "fragment_id": result.fragment_id,
        "service_type": planned.service_type if planned is not None else None,
        "qubits": list(planned.qubits) if planned is not None else [],
        "operations": list(planned.operations) if planned is not None else [],
        "node_id": record.node_id,
        "node_name": names.get(record.node_id, ""),
        "status": "RECOVERED" if truth.recovered else "COMPLETED",
        "attempts": truth.attempts,
        "started_at": iso(result.started_at),
        "finished_at": iso(result.finished_at),
        "observed_fidelity": result.observed_fidelity,
        "fidelity_interval": [result.fidelity_low, result.fidelity_high],
        "fidelity_source": result.fidelity_source,
        "process_fidelity": result.process_fidelity,
        "reservation_id": reservations.get(record.node_id),
        "execution_id": record.execution_id,
        "block_id": record.block_id,
        "executor": state.ExecutorKind.Name(record.executor).removeprefix("EXECUTOR_KIND_").lower(),
        "parameter_set": truth.parameter_set,
        "slice": truth.slice,
        "model_time": {
            "start_ns": result.model_start_ns,
            "gate_ns": result.gate_ns,
            "link_wait_ns": result.link_wait_ns,
            "idle_ns": result.idle_ns,
        },
        "ebits": [
            {
                "pair": use.pair,
                "link": [use.node_a, use.node_b],
                "fidelity": use.fidelity,
                "raw_pairs": use.raw_pairs,
                "born_ns": use.born_ns,
                "used_ns": use.used_ns,
                "operation": use.kind,
                "wire": use.wire,
            }
            for use in result.ebits
        ],
        "detail": orjson.loads(result.detail_json) if result.detail_json else None,
        "error": None,
        "signature": base64.b64encode(truth.signature).decode("ascii"),
    }


def estimated_fidelity(truths: Sequence[BlockTruth]) -> float:
    """Product of the observed process fidelities of the fragments, over one parameter set."""
    product = 1.0
    for truth in truths:
        if truth.parameter_set or truth.slice or truth.recovered:
            continue
        for result in truth.record.fragments:
            product *= result.process_fidelity
    return product


def quantum_result(
    form: circuit.Circuit,
    counts: Mapping[str, int],
    shots: int,
    response: analysis.AnalyzeResponse | None,
    failure: str | None,
) -> dict[str, object]:
    """Insight of the analyzer, with the counts that the nodes really made."""
    document: dict[str, object] = {
        "counts": dict(counts),
        "shots": shots,
        "measured_qubits": measured_qubits(form),
    }
    if response is not None and response.quantum_result_json:
        document |= orjson.loads(response.quantum_result_json)
        document |= {"counts": dict(counts), "shots": shots}
        status = analysis.AnalysisStatus.Name(response.status).removeprefix("ANALYSIS_STATUS_").lower()
        document["analysis"] = {"status": status, "code": response.code or None}
    else:
        document |= dict.fromkeys(_INSIGHT)
        document["analysis"] = {"status": "unavailable", "code": failure or "ANALYZER_UNAVAILABLE"}
    return document


def summary(document: Mapping[str, object]) -> dict[str, object]:
    """The document without what grows with the state."""
    light = dict(document)
    insight = document.get("quantum_result")
    if isinstance(insight, dict):
        light["quantum_result"] = {k: v for k, v in insight.items() if k not in _HEAVY}
    return light
