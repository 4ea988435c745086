"""Asks the analyzer what the circuit means and how far the execution was from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import structlog

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_kit.errors import ServiceError
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.domain.requests import RunState, VersionData, last_versions
from qmesh_runtime.ports import Analyzer, CallTimeoutError, Nodes, PeerGoneError

log = structlog.get_logger()

_ROWS_LIMIT = 16 << 20
_CHUNK = 1 << 20
_ATTEMPTS = 3


class Insight:
    """Fetches executed rows and has them analysed; a failure here never fails the job."""

    def __init__(self, analyzer: Analyzer, nodes: Nodes, *, fetch_seconds: float = 10.0) -> None:
        """Takes the analyzer and the nodes that hold the rows."""
        self._analyzer = analyzer
        self._nodes = nodes
        self._fetch_seconds = fetch_seconds

    async def analyze(
        self,
        claim: Claim,
        plan: planning.Plan,
        header: analysis.AnalysisHeader,
        run: RunState | None,
        addresses: Mapping[str, list[str]],
    ) -> tuple[analysis.AnalyzeResponse | None, str | None]:
        """The analysis, or None and a stable code."""
        finals = final_refs(plan, run.refs) if run is not None else []
        rows: list[VersionData] = []
        if sum(ref.bytes for ref in finals) > _ROWS_LIMIT:
            header.rows_missing_reason = f"executed rows exceed {_ROWS_LIMIT >> 20} MiB"
        else:
            try:
                rows = await self._fetch(claim, finals, run.versions if run is not None else {}, addresses)
                header.rows.extend(finals)
            except (PeerGoneError, CallTimeoutError) as error:
                header.rows_missing_reason = f"executed rows could not be fetched: {error}"
        code = "ANALYZER_UNAVAILABLE"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._analyzer.analyze(_parts(header, rows)), None
            except ServiceError as error:
                code = (
                    "ANALYZER_UNAVAILABLE"
                    if error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
                    else error.code
                )
                log.warning("analysis failed", job_id=claim.job_id, attempt=attempt, code=error.code)
                if error.code == "INVALID_ARGUMENT":
                    break
                await asyncio.sleep(0.05 * attempt)
        return None, code

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


def final_refs(
    plan: planning.Plan, refs: Mapping[tuple[int, int], state.ComponentRef]
) -> list[state.ComponentRef]:
    """Last version of every component that lives to the end."""
    return [refs[version] for version in sorted(last_versions(plan).items()) if version in refs]


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
