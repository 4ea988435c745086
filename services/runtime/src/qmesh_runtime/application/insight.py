"""Asks the analyzer what the circuit means and how far the execution was from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import reduce

import structlog

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_kit.errors import ServiceError
from qmesh_runtime.application.overlap import Comparisons, NotComparedError
from qmesh_runtime.application.patience import AWAY, if_told
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.domain.overlap import Spread
from qmesh_runtime.domain.requests import RunState, VersionData, final_refs
from qmesh_runtime.ports import Analyzer, CallTimeoutError, Nodes, PeerGoneError

log = structlog.get_logger()

ROWS_LIMIT = 16 << 20
"""Bytes of executed rows that are fetched; what is larger is compared where it is."""
_CHUNK = 1 << 20
_COMPARE_SHARE = 0.25
"""Of the time until the job's deadline, what one comparison may take."""
_ANALYZE_SHARE = 0.8
"""Of the time until the job's deadline, what the analysis may take; the rest is for writing the result."""


class Insight:
    """Fetches executed rows and has them analysed; a failure here never fails the job."""

    def __init__(
        self,
        analyzer: Analyzer,
        nodes: Nodes,
        *,
        rows_limit: int = ROWS_LIMIT,
        fetch_seconds: float = 10.0,
    ) -> None:
        """Takes the analyzer, the nodes that hold the rows, and how many bytes of them are fetched."""
        self._analyzer = analyzer
        self._nodes = nodes
        self._rows_limit = rows_limit
        self._fetch_seconds = fetch_seconds
        self._comparisons = Comparisons(analyzer, nodes)

    async def measure(
        self,
        claim: Claim,
        form: circuit.Circuit,
        plan: planning.Plan,
        run: RunState,
        addresses: Mapping[str, list[str]],
    ) -> None:
        """Has the holders compare what a pass left there, before it is released; the pass keeps the answer."""
        try:
            async with _within(claim, _COMPARE_SHARE):
                run.overlap = await self._comparisons.spread(claim, form, plan, run, addresses)
        except NotComparedError as error:
            run.overlap = str(error)
        except TimeoutError:
            run.overlap = "it would have taken too much of the time that the job has"
        if isinstance(run.overlap, str):
            log.info("not compared by the holders", job_id=claim.job_id, reason=run.overlap)

    def forget(self, job_id: str) -> None:
        """Drops what was kept for the comparisons of a job."""
        self._comparisons.forget(job_id)

    async def analyze(
        self,
        claim: Claim,
        plan: planning.Plan,
        header: analysis.AnalysisHeader,
        runs: Sequence[RunState],
        addresses: Mapping[str, list[str]],
    ) -> tuple[analysis.AnalyzeResponse | None, str | None]:
        """The analysis of what the passes of one parameter set executed, or None and a stable code."""
        try:
            async with _within(claim, _ANALYZE_SHARE):
                return await self._analysis(claim, plan, header, runs, addresses)
        except TimeoutError:
            log.warning("no time was left for the analysis", job_id=claim.job_id)
            return None, "ANALYZER_UNAVAILABLE"

    async def _analysis(
        self,
        claim: Claim,
        plan: planning.Plan,
        header: analysis.AnalysisHeader,
        runs: Sequence[RunState],
        addresses: Mapping[str, list[str]],
    ) -> tuple[analysis.AnalyzeResponse | None, str | None]:
        rows: list[VersionData] = []
        finals = final_refs(plan, runs[0].refs)
        if len(runs) > 1:
            _tell(header, runs, f"the job ran in {len(runs)} slices of shots")
        elif sum(ref.bytes for ref in finals) > self._rows_limit:
            await self.measure(claim, header.circuit, plan, runs[0], addresses)
            _tell(header, runs, f"executed rows exceed {self._rows_limit / (1 << 20):g} MiB")
        else:
            try:
                rows = await self._fetch(claim, finals, runs[0].versions, addresses)
                header.rows.extend(finals)
            except (PeerGoneError, CallTimeoutError) as error:
                header.rows_missing_reason = f"executed rows could not be fetched: {error}"
        try:
            return await if_told(lambda: self._analyzer.analyze(_parts(header, rows)), "analysis"), None
        except ServiceError as error:
            log.warning("analysis failed", job_id=claim.job_id, code=error.code)
            return None, "ANALYZER_UNAVAILABLE" if error.code in AWAY else error.code

    async def _fetch(
        self,
        claim: Claim,
        finals: Sequence[state.ComponentRef],
        known: Mapping[bytes, VersionData],
        addresses: Mapping[str, list[str]],
    ) -> list[VersionData]:
        """Versions that came with the answers, the others from their holders."""
        async with asyncio.TaskGroup() as group:
            tasks = {
                number: group.create_task(self._fetch_one(ref, addresses.get(ref.holder, []), claim.fence))
                for number, ref in enumerate(finals)
                if ref.digest not in known
            }
        rows = []
        for number, ref in enumerate(finals):
            value = tasks[number].result() if number in tasks else known[ref.digest]
            if isinstance(value, Exception):
                raise value
            rows.append(value)
        return rows

    async def _fetch_one(
        self, ref: state.ComponentRef, addresses: Sequence[str], fence: int
    ) -> VersionData | Exception:
        try:
            return await self._nodes.fetch(ref, addresses, fence, self._fetch_seconds)
        except (PeerGoneError, CallTimeoutError) as error:
            return error


def _within(claim: Claim, share: float) -> asyncio.Timeout:
    """A bound that leaves the job the rest of its time: insight never costs the counts."""
    return asyncio.timeout(max(0.0, claim.deadline - time.time()) * share)


def _tell(header: analysis.AnalysisHeader, runs: Sequence[RunState], why: str) -> None:
    """Says why no rows follow, and what the holders found instead."""
    header.rows_missing_reason = why
    spreads = [run.overlap for run in runs if isinstance(run.overlap, Spread)]
    if len(spreads) < len(runs):
        found = next((run.overlap for run in runs if isinstance(run.overlap, str)), "nobody was asked")
        header.rows_missing_reason += f"; not compared by the holders: {found}"
        return
    whole = reduce(Spread.joined, spreads)
    header.overlap.CopyFrom(
        analysis.HolderOverlap(
            fidelity=min(1.0, whole.mean), stderr=whole.stderr, lower_bound=whole.lower_bound
        )
    )


async def _parts(
    header: analysis.AnalysisHeader, rows: Sequence[VersionData]
) -> AsyncIterator[analysis.AnalyzeRequest]:
    yield analysis.AnalyzeRequest(header=header)
    for number, (data, rows_bytes) in enumerate(rows):
        for offset in range(0, len(data), _CHUNK):
            yield analysis.AnalyzeRequest(
                chunk=analysis.RowsChunk(
                    component=number,
                    offset=offset,
                    data=data[offset : offset + _CHUNK],
                    rows_bytes=rows_bytes,
                )
            )


def header_of(
    claim: Claim,
    form: circuit.Circuit,
    plan: planning.Plan,
    *,
    counts: Mapping[str, int],
    shots: int,
    observables: Sequence[circuit.Observable],
    estimated: float,
    noise: bool,
    columns: Mapping[int, bytes],
) -> analysis.AnalysisHeader:
    """First message of an analysis."""
    return analysis.AnalysisHeader(
        caller=caller.Caller(tenant_id=claim.tenant_id, principal="runtime"),
        job_id=claim.job_id,
        circuit=form,
        shots=shots,
        counts=counts,
        observables=observables,
        estimated_execution_fidelity=estimated,
        predicted_fidelity=plan.predicted_fidelity,
        final_wires=plan.final_wires,
        noise=noise,
        columns=columns,
    )
