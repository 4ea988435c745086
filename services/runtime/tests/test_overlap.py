"""Fidelity from the holders' overlaps: the arithmetic, and when holders are asked at all."""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.events.v1 import events_pb2 as events
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_kit.errors import ServiceError
from qmesh_runtime.application.insight import Insight
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.domain.overlap import Factors, HolderOverlaps, Spread, spread_of
from qmesh_runtime.domain.requests import RunKey, RunState
from qmesh_runtime.ports import PeerGoneError


def answer(rows: Sequence[Sequence[complex]], row_of_shot: Sequence[int]) -> HolderOverlaps:
    """Overlaps by term and row as a holder sends them."""
    reals = array("d", itertools.chain.from_iterable((z.real, z.imag) for term in rows for z in term))
    return HolderOverlaps(len(rows[0]), reals.tobytes(), array("I", row_of_shot).tobytes())


def test_shots_multiply_over_components() -> None:
    """Shot s of one component belongs with shot s of the other: four shots of two components by hand."""
    factors = Factors((1.0,), 0.0, (b"", b""))
    spread = spread_of(factors, [answer([[1, 0.6j]], [0, 0, 1, 1]), answer([[0.5, -1]], [0, 1, 0, 1])])
    values = [0.25, 1, 0.09, 0.36]
    mean = sum(values) / 4
    assert spread.mean == pytest.approx(mean)
    assert spread.stderr == pytest.approx((sum((v - mean) ** 2 for v in values) / 3 / 4) ** 0.5)
    assert not spread.lower_bound


def test_terms_interfere() -> None:
    """Two terms are added as amplitudes; a phase that a row has in all its terms changes nothing."""
    factors = Factors((0.8, 0.6), 0.0, (b"",))
    for phase in (1, 1j, 0.6 - 0.8j):
        spread = spread_of(factors, [answer([[0.5 * phase, phase], [-0.5 * phase, 0]], [0, 1])])
        assert spread.mean == pytest.approx((0.1**2 + 0.8**2) / 2)


def test_a_remainder_counts_against_every_shot() -> None:
    """What the terms leave out may have been anything: the least value is taken, never below 0."""
    spread = spread_of(Factors((1.0,), 0.3, (b"",)), [answer([[0.8, 0.1]], [0, 1])])
    assert spread.mean == pytest.approx(0.125)
    assert spread.lower_bound


def test_spreads_of_slices_are_joined() -> None:
    """Slices give the mean and the standard error of all shots together."""
    row = [complex(k) / 10 for k in range(11)]
    shots = [0, 3, 3, 10, 7, 1, 9]
    factors = Factors((1.0,), 0.0, (b"",))
    whole = spread_of(factors, [answer([row], shots)])
    joined = spread_of(factors, [answer([row], shots[:1])])
    for part in (shots[1:3], shots[3:]):
        joined = joined.joined(spread_of(factors, [answer([row], part)]))
    assert joined.shots == 7
    assert joined.mean == pytest.approx(whole.mean)
    assert joined.stderr == pytest.approx(whole.stderr)
    assert spread_of(factors, [answer([row], [5])]).stderr is None


@pytest.mark.parametrize("value", [1.1, float("nan"), float("inf")])
def test_overlaps_that_are_none_are_refused(value: float) -> None:
    """A holder that claims more than 1, or no number, is not believed; nor one that names rows it does not have."""
    factors = Factors((1.0,), 0.0, (b"",))
    with pytest.raises(ValueError, match="holds no overlaps"):
        spread_of(factors, [answer([[value]], [0])])
    with pytest.raises(ValueError, match="rows that are not there"):
        spread_of(factors, [answer([[0.5]], [1])])
    with pytest.raises(ValueError, match="holds no overlaps"):
        spread_of(Factors((0.5, 0.5), 0.0, (b"",)), [answer([[0.5]], [0])])


class _Analyzer:
    """Gives the factors of |0>, and keeps the headers that it is asked with."""

    def __init__(self, refusal: ServiceError | None = None) -> None:
        self.headers: list[analysis.AnalysisHeader] = []
        self.asked: list[analysis.FactorRequest] = []
        self.refusal = refusal
        self.hangs = False

    async def analyze(self, parts: AsyncIterator[analysis.AnalyzeRequest]) -> analysis.AnalyzeResponse:
        header, *_ = [part async for part in parts]
        self.headers.append(header.header)
        if self.hangs:
            await asyncio.sleep(60)
        return analysis.AnalyzeResponse()

    async def factor(self, request: analysis.FactorRequest) -> Factors:
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        return Factors((1.0,), 0.0, tuple(bytes(16 << len(part.wires)) for part in request.components))


class _Nodes:
    """Holders whose every shot overlaps by half; `gone` ones do not answer."""

    def __init__(self) -> None:
        self.compared: list[tuple[str, int, int, int]] = []
        self.fetched = 0
        self.gone: set[str] = set()
        self.hangs = False

    async def fetch(self, *_: Any) -> tuple[bytes, int]:
        self.fetched += 1
        return b"", 0

    async def compare(
        self, ref: state.ComponentRef, _: Sequence[str], factors: bytes, terms: int, fence: int, __: float
    ) -> HolderOverlaps:
        if self.hangs:
            await asyncio.sleep(60)
        if ref.holder in self.gone:
            raise PeerGoneError("NOT_FOUND: this version is not here")
        self.compared.append((ref.holder, len(factors), terms, fence))
        return answer([[0.5**0.5]], [0] * ref.shots.count)


PLAN = planning.Plan(
    plan_id="plan",
    final_wires=[0, 1],
    chains=[planning.ComponentChain(component=c, final=True) for c in (0, 1)],
    blocks=[planning.Block(outputs=[planning.ComponentUse(component=c, position=0) for c in (0, 1)])],
)
CLAIM = Claim("job", "t", 7, events.JOB_STATUS_EXECUTING, 1, 1, time.time() + 86_400, False, (), b"")


def run_of(slice_: int, shots: int, size: int) -> RunState:
    """A pass with two final components of so many bytes each."""
    run = RunState(RunKey(0, slice_, 0, shots))
    for component in (0, 1):
        ref = state.ComponentRef(wires=[component], holder=f"node-{component}", bytes=size)
        ref.shots.count = shots
        run.refs[component, 0] = ref
    return run


class _Case:
    """One insight over what is asked of others."""

    def __init__(self, refusal: ServiceError | None = None, limit: int = 1000) -> None:
        self.analyzer, self.nodes = _Analyzer(refusal), _Nodes()
        self.insight = Insight(cast("Any", self.analyzer), cast("Any", self.nodes), rows_limit=limit)

    async def analyze(self, *runs: RunState, qubits: int = 2) -> analysis.AnalysisHeader:
        """The header that the analyzer gets."""
        header = analysis.AnalysisHeader(circuit=circuit.Circuit(num_qubits=qubits))
        assert await self.insight.analyze(CLAIM, PLAN, header, runs, {}) == (analysis.AnalyzeResponse(), None)
        return self.analyzer.headers[-1]


async def test_rows_within_the_limit_are_fetched() -> None:
    """As before: nobody compares anything."""
    case = _Case()
    header = await case.analyze(run_of(0, 4, 500))
    assert (len(header.rows), case.nodes.fetched) == (2, 2)
    assert (case.analyzer.asked, case.nodes.compared, header.HasField("overlap")) == ([], [], False)


async def test_rows_above_the_limit_are_compared_by_their_holders() -> None:
    """One request for factors, one push to each holder under the claim's fence; the header tells what they found."""
    case = _Case()
    header = await case.analyze(run_of(0, 4, 501))
    assert sorted(case.nodes.compared) == [("node-0", 32, 1, 7), ("node-1", 32, 1, 7)]
    assert [list(part.wires) for part in case.analyzer.asked[0].components] == [[0], [1]]
    assert header.overlap.fidelity == pytest.approx(0.25)
    assert header.overlap.stderr == pytest.approx(0)
    assert (case.nodes.fetched, len(header.rows)) == (0, 0)
    assert header.rows_missing_reason.startswith("executed rows exceed")


async def test_slices_are_compared_one_by_one() -> None:
    """Each while its versions live, with the factors of the first; the header tells of all shots."""
    case = _Case()
    runs = [run_of(number, shots, 5) for number, shots in enumerate((4, 3))]
    for run in runs:
        await case.insight.measure(CLAIM, circuit.Circuit(num_qubits=2), PLAN, run, {})
    header = await case.analyze(*runs)
    assert (len(case.analyzer.asked), len(case.nodes.compared)) == (1, 4)
    first = runs[0].overlap
    assert isinstance(first, Spread)
    assert first.shots == 4
    assert first.mean == pytest.approx(0.25)
    assert header.overlap.fidelity == pytest.approx(0.25)
    assert "2 slices" in header.rows_missing_reason


@pytest.mark.parametrize("several", [False, True])
async def test_what_a_holder_lost_is_a_reason(several: bool) -> None:
    """A holder without the version: no fidelity, and the reason is told, also when it is that of one slice."""
    case = _Case(limit=0)
    runs = [run_of(number, 4, 5) for number in range(1 + several)]
    if several:
        await case.insight.measure(CLAIM, circuit.Circuit(num_qubits=2), PLAN, runs[0], {})
    case.nodes.gone.add("node-1")
    if several:
        await case.insight.measure(CLAIM, circuit.Circuit(num_qubits=2), PLAN, runs[1], {})
    header = await case.analyze(*runs)
    assert not header.HasField("overlap")
    assert "not compared by the holders: a holder did not answer: NOT_FOUND" in header.rows_missing_reason


async def test_a_comparison_leaves_the_job_its_time() -> None:
    """A holder that hangs costs a share of what is left until the deadline, and is a reason; the analysis still comes."""
    case, run = _Case(limit=0), run_of(0, 4, 5)
    case.nodes.hangs = True
    claim = replace(CLAIM, deadline=time.time() + 3)
    header = analysis.AnalysisHeader(circuit=circuit.Circuit(num_qubits=2))
    assert await case.insight.analyze(claim, PLAN, header, [run], {}) == (analysis.AnalyzeResponse(), None)
    assert time.time() < claim.deadline
    assert case.analyzer.headers[-1].rows_missing_reason.endswith("too much of the time that the job has")


async def test_an_analysis_leaves_the_job_its_time() -> None:
    """An analyzer that hangs until the deadline makes the analysis unavailable, not the job fail."""
    case = _Case()
    case.analyzer.hangs = True
    claim = replace(CLAIM, deadline=time.time() + 3)
    header = analysis.AnalysisHeader(circuit=circuit.Circuit(num_qubits=2))
    found = await case.insight.analyze(claim, PLAN, header, [run_of(0, 4, 5)], {})
    assert found == (None, "ANALYZER_UNAVAILABLE")
    assert time.time() < claim.deadline


async def test_factors_are_of_one_order_of_wires_and_are_forgotten_with_their_job() -> None:
    """Axes in another order need other factors; what ends without an analysis leaves nothing behind."""
    case = _Case()
    runs = [run_of(number, 4, 5) for number in range(3)]
    runs[1].refs[0, 0].wires[:], runs[1].refs[1, 0].wires[:] = [1], [0]
    for run, asked in zip(runs, (1, 2, 2), strict=True):
        await case.insight.measure(CLAIM, circuit.Circuit(num_qubits=2), PLAN, run, {})
        assert len(case.analyzer.asked) == asked
    case.insight.forget(CLAIM.job_id)
    await case.insight.measure(CLAIM, circuit.Circuit(num_qubits=2), PLAN, runs[0], {})
    assert len(case.analyzer.asked) == 3


async def test_what_the_analyzer_cannot_factor_is_a_reason() -> None:
    """No single ideal state, or one that is too wide to push: the holders are not asked."""
    case = _Case(ServiceError("NO_PURE_STATE", "outcomes leave none"), limit=0)
    header = await case.analyze(run_of(0, 4, 5))
    assert header.rows_missing_reason.endswith("NO_PURE_STATE: outcomes leave none")
    header = await case.analyze(run_of(0, 4, 5), qubits=23)
    assert header.rows_missing_reason.endswith("the ideal state exceeds 64 MiB")
    assert (len(case.analyzer.asked), case.nodes.compared) == (1, [])


async def test_a_pass_without_all_its_versions_is_not_compared() -> None:
    """What is missing would be taken as |0>, and show as infidelity."""
    case, run = _Case(limit=0), run_of(0, 4, 5)
    del run.refs[1, 0]
    assert (await case.analyze(run)).rows_missing_reason.endswith("a final version is not known")
    assert case.analyzer.asked == []


async def test_an_analyzer_that_is_away_is_asked_again() -> None:
    """Three times, then it is a reason; the analysis itself is asked for all the same."""
    case = _Case(ServiceError("UNAVAILABLE", "away", retry_after=0.001), limit=0)
    header = await case.analyze(run_of(0, 4, 5))
    assert len(case.analyzer.asked) == 3
    assert header.rows_missing_reason.endswith("UNAVAILABLE: away")
