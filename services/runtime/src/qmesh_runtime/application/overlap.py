"""Compares what is too large to fetch where it is: the analyzer's ideal state, by its factors, at the holders."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import structlog

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_kit.errors import ServiceError
from qmesh_runtime.application.patience import if_told
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.domain.overlap import Factors, HolderOverlaps, Spread, spread_of
from qmesh_runtime.domain.requests import RunState, final_refs, last_versions
from qmesh_runtime.ports import Analyzer, CallTimeoutError, Nodes, PeerGoneError

log = structlog.get_logger()

_IDEAL_BYTES = 64 << 20
_AMPLITUDE = 16
_AT_ONCE = 2
"""Comparisons that hold factors in memory side by side."""
_KEPT_BYTES = 128 << 20
"""Factors that are kept for the next slice of their job."""
_PUSH_SECONDS = 60.0

_Key = tuple[str, str, int, tuple[tuple[int, ...], ...]]
"""Job, plan, parameter set, and wires of the final components in axis order."""


class NotComparedError(Exception):
    """The holders did not compare the executed state; says why."""


class Comparisons:
    """Fidelity of one pass by overlaps at the holders of its final versions."""

    def __init__(self, analyzer: Analyzer, nodes: Nodes) -> None:
        """Takes the analyzer, which knows the ideal state, and the nodes, which hold the executed one."""
        self._analyzer = analyzer
        self._nodes = nodes
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[_Key, Factors] = OrderedDict()

    async def spread(
        self,
        claim: Claim,
        form: circuit.Circuit,
        plan: planning.Plan,
        run: RunState,
        addresses: Mapping[str, Sequence[str]],
    ) -> Spread:
        """Spread of |<ideal|executed>|^2 over the shots of a pass whose final versions still are at their holders.

        Raises:
            NotComparedError: it could not be had.
        """
        if _AMPLITUDE << form.num_qubits > _IDEAL_BYTES:
            raise NotComparedError(f"the ideal state exceeds {_IDEAL_BYTES >> 20} MiB")
        finals = final_refs(plan, run.refs)
        if len(finals) < len(last_versions(plan)):  # its qubits would count as |0>
            raise NotComparedError("a final version is not known")
        async with self._turns:
            begun = time.perf_counter()
            factors = await self._factors(claim, form, plan, run.key.parameter_set, finals)
            answers = await self._answers(claim, finals, factors, addresses)
        try:
            spread = await asyncio.to_thread(spread_of, factors, answers)
        except ValueError as error:
            raise NotComparedError(str(error)) from None
        log.info(
            "compared by the holders",
            job_id=claim.job_id,
            slice=run.key.slice,
            rows=[answer.rows for answer in answers],
            factor_bytes=factors.nbytes,
            seconds=round(time.perf_counter() - begun, 3),
        )
        return spread

    def forget(self, job_id: str) -> None:
        """Drops the factors of a job."""
        for key in [key for key in self._kept if key[0] == job_id]:
            del self._kept[key]

    async def _factors(
        self,
        claim: Claim,
        form: circuit.Circuit,
        plan: planning.Plan,
        parameter_set: int,
        finals: Sequence[state.ComponentRef],
    ) -> Factors:
        """The ideal state over the final components; slices of one plan end with the same ones."""
        key = (claim.job_id, plan.plan_id, parameter_set, tuple(tuple(ref.wires) for ref in finals))
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known
        request = analysis.FactorRequest(
            caller=caller.Caller(tenant_id=claim.tenant_id, principal="runtime"),
            job_id=claim.job_id,
            circuit=form,
            final_wires=plan.final_wires,
            components=[analysis.ComponentWires(wires=ref.wires) for ref in finals],
        )
        try:
            factors = await if_told(lambda: self._analyzer.factor(request), "factors")
        except ServiceError as error:
            raise NotComparedError(f"{error.code}: {error.message}") from None
        if len(factors.weights) > 1:
            log.warning(
                "the ideal state is entangled over the executed components",
                job_id=claim.job_id,
                plan_id=plan.plan_id,
                terms=len(factors.weights),
                remainder=factors.remainder,
            )
        self._kept[key] = factors
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return factors

    async def _answers(
        self,
        claim: Claim,
        finals: Sequence[state.ComponentRef],
        factors: Factors,
        addresses: Mapping[str, Sequence[str]],
    ) -> list[HolderOverlaps]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._answer(claim, ref, vectors, len(factors.weights), addresses))
                for ref, vectors in zip(finals, factors.vectors, strict=True)
            ]
        answers = []
        for task in tasks:
            answer = task.result()
            if isinstance(answer, Exception):
                raise NotComparedError(f"a holder did not answer: {answer}")
            answers.append(answer)
        return answers

    async def _answer(
        self,
        claim: Claim,
        ref: state.ComponentRef,
        factors: bytes,
        terms: int,
        addresses: Mapping[str, Sequence[str]],
    ) -> HolderOverlaps | Exception:
        try:
            return await self._nodes.compare(
                ref, addresses.get(ref.holder, ()), factors, terms, claim.fence, _PUSH_SECONDS
            )
        except (PeerGoneError, CallTimeoutError) as error:
            return error
