"""Ends a job well: counts from the nodes' columns, insight from the analyzer, one durable result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import orjson

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_runtime.application.execution import PassContext
from qmesh_runtime.application.insight import Insight, header_of
from qmesh_runtime.application.recording import JobRecorder
from qmesh_runtime.domain import result as documents
from qmesh_runtime.domain.claim import Change, Claim
from qmesh_runtime.domain.counts import counts_of, final_columns, join_columns
from qmesh_runtime.domain.history import JobHistory
from qmesh_runtime.domain.requests import RunState

_COUNTED_HERE = 1 << 16
"""Bits of all shots that are counted without a thread."""
_MOST_OUTCOMES = 65_536
"""Different bit strings of which the analysis says how well they fit; of more it gets none. The result lists any number."""


class Finisher:
    """Makes the result of an executed plan durable."""

    def __init__(self, insight: Insight, recorder: JobRecorder, history: JobHistory, claim: Claim) -> None:
        """Takes what the job has gathered."""
        self._insight = insight
        self._recorder = recorder
        self._history = history
        self._claim = claim
        self._insights: list[dict[str, object]] = []
        self._columns: dict[int, bytes] = {}
        self._analyzed: Change | None = None

    async def analyze(
        self,
        context: PassContext,
        request: runtime.SubmitRequest,
        number: int,
        form: circuit.Circuit,
        passes: Sequence[RunState],
    ) -> None:
        """Forms the counts of a parameter set from its passes, in order of their shots, and asks for its analysis."""
        final = _final(form, passes)
        self._columns.update({(number << 16) + bit: column for bit, column in enumerate(final)})
        insight, analyzed = await self._analyze(context, request, form, passes, final)
        self._insights.append(insight)
        if number + 1 < len(request.parameter_sets):
            self._recorder.write(analyzed)
        else:
            self._analyzed = analyzed

    async def complete(
        self, context: PassContext, request: runtime.SubmitRequest, reservations: Mapping[str, str]
    ) -> None:
        """Makes the result durable and enters COMPLETED."""
        document = self._document(context, request, self._insights, reservations)
        change = self._history.enter(events.JOB_STATUS_COMPLETED)
        if self._analyzed is not None:
            change.begin_with(self._analyzed)  # one commit for both
        change.result = orjson.dumps(document)
        change.summary = orjson.dumps(documents.summary(document))
        change.columns = self._columns
        await self._recorder.commit(change)

    async def _analyze(
        self,
        context: PassContext,
        request: runtime.SubmitRequest,
        form: circuit.Circuit,
        passes: Sequence[RunState],
        final: Sequence[bytes],
    ) -> tuple[dict[str, object], Change]:
        """One parameter set: its part of the result, and the change that says so."""
        plan = context.compiled.plan
        counts = await _counts(form, final, request.shots)
        header = header_of(
            self._claim,
            form,
            plan,
            counts=counts if len(counts) <= _MOST_OUTCOMES else {},
            shots=request.shots,
            observables=request.observables,
            estimated=documents.estimated_fidelity(self._recorder.truths),
            noise=request.noise,
            columns={
                version: join_columns([(run.columns[version], run.key.shots) for run in passes])
                for version in passes[0].columns
            },
        )
        response, failure = await self._insight.analyze(
            self._claim, plan, header, passes, context.addresses()
        )
        insight = documents.quantum_result(form, counts, request.shots, response, failure)
        analyzed = self._history.event(
            events.JOB_EVENT_TYPE_ANALYZED,
            error=events.JobError(code=failure, message="the analysis is unavailable") if failure else None,
        )
        return insight, analyzed

    def _document(
        self,
        context: PassContext,
        request: runtime.SubmitRequest,
        insights: Sequence[dict[str, object]],
        reservations: Mapping[str, str],
    ) -> dict[str, object]:
        plan = context.compiled.plan
        document: dict[str, object] = {
            "quantum_result": insights[0],
            "fragment_results": documents.fragment_results(
                plan, self._recorder.truths, self._recorder.node_names(), reservations
            ),
            "plan_id": plan.plan_id,
            "parent_plan_id": plan.parent_plan_id or None,
            "generation": plan.generation,
            "snapshot_id": plan.snapshot_id,
            "seed": str(request.seed),
            "shots": request.shots,
            "noise": request.noise,
            "precision": "single" if request.precision == state.PRECISION_SINGLE else "double",
            "predicted_fidelity": plan.predicted_fidelity,
            "makespan_ns": plan.makespan_ns,
            "ebits": {
                "total": plan.ebit_summary.total,
                "raw_pairs": plan.ebit_summary.raw_pairs,
                "per_link": [
                    {"link": [link.node_a, link.node_b], "ebits": link.ebits}
                    for link in plan.ebit_summary.per_link
                ],
            },
            "failed_attempts": self._recorder.failures,
            "warnings": list(plan.warnings),
        }
        if len(insights) > 1:
            document["parameter_results"] = list(insights)
        return document


def _final(form: circuit.Circuit, passes: Sequence[RunState]) -> list[bytes]:
    """Packed final column of each classical bit over all shots."""
    by_pass = [(final_columns(form, run.columns, run.key.shots), run.key.shots) for run in passes]
    return [
        join_columns([(columns[bit], shots) for columns, shots in by_pass]) for bit in range(form.num_bits)
    ]


async def _counts(form: circuit.Circuit, final: Sequence[bytes], shots: int) -> dict[str, int]:
    """Counts; those of a million shots take seconds, in which the leases of all jobs would end."""
    if shots * len(final) <= _COUNTED_HERE:
        return counts_of(form, final, shots)
    return await asyncio.to_thread(counts_of, form, final, shots)
