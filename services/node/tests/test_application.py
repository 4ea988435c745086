"""At most once, everything or nothing, typed refusals: the gate protocol's application without a network."""

import functools
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest
import trio

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric.identity import verify
from qmesh_node.application import RECORD_DOMAIN
from qmesh_node.domain.admission import Offer
from qmesh_node.domain.cost import is_small
from qmesh_node.domain.executor import Executor

BELL = "h q[0]; cx q[0], q[1];"


def trio_test(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a test in trio, with a deadline."""

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> None:
        async def limited() -> None:
            with trio.fail_after(10):
                await function(*arguments, **named)

        trio.run(limited)

    return run


def _bell(lab: ModuleType, node: Any, **changed: Any) -> gate.ExecuteRequest:
    made: gate.ExecuteRequest = lab.request(lab.parsed(BELL, 2), node.identity.peer_id, **changed)
    return made


def _reading(
    source: gate.ExecutionRecord, request: gate.ExecuteRequest, **changed: Any
) -> gate.ExecuteRequest:
    """A request for the next version of what an execution made: X on its first wire."""
    ref = source.produced[0]
    made = gate.ExecuteRequest()
    made.CopyFrom(request)
    made.execution_id = "next"
    made.ClearField("fresh_wires")
    del made.operations[1:], made.fragments[1:], made.outputs[:]
    made.operations[0].name, made.operations[0].service_type = "x", "programmable_gate"
    made.inputs.append(gate.InputComponent(ref=ref))
    made.outputs.append(gate.OutputComponent(component=ref.id.component, position=1, wires=ref.wires))
    for name, value in changed.items():
        setattr(made, name, value)
    return made


@trio_test
async def test_an_execution_is_signed_stored_and_journalled(lab: ModuleType) -> None:
    """The record names what was made, the store holds it with the digest of its bytes, and the journal has one line."""
    node = lab.node()
    record = await node.ask(_bell(lab, node))
    assert record.outcome == gate.OUTCOME_DONE
    (ref,) = record.produced
    version = node.store.get(ref.id)
    assert version.component.digest() == ref.digest
    assert ref.bytes == version.component.nbytes == node.memory.used
    assert (ref.holder, ref.rows, ref.shots.count) == (node.identity.peer_id, 1, 64)
    assert [line["outcome"] for line in node.journal] == ["OUTCOME_DONE"]
    assert node.service.meter.active == 0


@trio_test
async def test_small_final_versions_come_with_the_answer(lab: ModuleType) -> None:
    """Only when asked for, only final ones, only up to the bound; also with a repeated answer, never in what is kept."""
    node = lab.node()
    request = _bell(lab, node)
    assert not (await node.service.execute(request)).versions
    (ref,) = gate.ExecutionRecord.FromString((await node.service.execute(request)).record).produced
    request.inline_bytes = ref.bytes
    assert not (await node.service.execute(request)).versions
    request.outputs[0].final = True
    answer = await node.service.execute(request)
    (version,) = answer.versions
    assert answer.repeated_answer
    assert (version.component, version.position) == (ref.id.component, ref.id.position)
    assert hashlib.sha256(version.data).digest() == ref.digest
    assert version.rows_bytes == len(version.data) - 4 * ref.shots.count
    assert not node.store.record(request.job_id, request.execution_id).versions
    request.inline_bytes = ref.bytes - 1
    assert not (await node.service.execute(request)).versions


@trio_test
async def test_a_repeat_is_answered_from_the_record(lab: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same execution id gives the same bytes, marked as repeated, without any work."""
    node = lab.node()
    first = await node.service.execute(_bell(lab, node))

    def never(_self: object) -> None:
        raise AssertionError("executed again")

    monkeypatch.setattr(Executor, "run", never)
    again = await node.service.execute(_bell(lab, node))
    assert (again.record, again.signature) == (first.record, first.signature)
    assert again.repeated_answer
    assert not first.repeated_answer


@trio_test
async def test_repeats_at_the_same_time_execute_once(lab: ModuleType) -> None:
    """Ten equal requests at once are one execution and nine answers from its record."""
    node, answers = lab.node(), []

    async def ask() -> None:
        answers.append(await node.service.execute(_bell(lab, node)))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert sorted(a.repeated_answer for a in answers) == [False] + [True] * 9
    assert len({a.record for a in answers}) == 1
    assert len(node.journal) == 1


@trio_test
async def test_a_record_whose_state_is_gone_executes_again(lab: ModuleType) -> None:
    """After a release the same execution id makes the same state again."""
    node = lab.node()
    first = await node.ask(_bell(lab, node))
    node.service.release(gate.ReleaseRequest(job_id="job", fence=1, ids=[first.produced[0].id]))
    assert node.memory.used == 0
    again = await node.service.execute(_bell(lab, node))
    assert not again.repeated_answer
    assert gate.ExecutionRecord.FromString(again.record).produced[0].digest == first.produced[0].digest


@trio_test
async def test_a_stale_claim_is_refused_and_harms_nothing(lab: ModuleType) -> None:
    """A lower fence gets STALE_CLAIM for new work and for repeats, and the newer owner's record is still there."""
    node = lab.node()
    token = lab.token(node.identity.peer_id, fence=2)
    await node.ask(_bell(lab, node, fence=2, reservation_token=token))
    for execution in ("execution", "other"):
        refused = await node.ask(_bell(lab, node, fence=1, execution_id=execution))
        assert refused.outcome == gate.OUTCOME_STALE_CLAIM
        assert not refused.produced
    again = await node.service.execute(_bell(lab, node, fence=2, reservation_token=token))
    assert again.repeated_answer


@trio_test
async def test_a_repeat_of_a_new_owner_shuts_the_old_one_out(lab: ModuleType) -> None:
    """A new owner that only repeats a request raises the job's fence all the same."""
    node = lab.node()
    await node.ask(_bell(lab, node))
    assert (await node.service.execute(_bell(lab, node, fence=5))).repeated_answer
    assert (await node.ask(_bell(lab, node, execution_id="other"))).outcome == gate.OUTCOME_STALE_CLAIM


@trio_test
async def test_an_older_token_stays_valid_under_a_newer_claim(lab: ModuleType) -> None:
    """The claim may be later than the token's, never earlier."""
    node = lab.node()
    assert (await node.ask(_bell(lab, node, fence=9))).outcome == gate.OUTCOME_DONE
    later = lab.token(node.identity.peer_id, fence=12)
    refused = await node.ask(_bell(lab, node, fence=10, execution_id="b", reservation_token=later))
    assert refused.outcome == gate.OUTCOME_REJECTED


@trio_test
async def test_what_was_not_reserved_is_rejected(lab: ModuleType) -> None:
    """Another job, node, tenant, service, an expired or a broken token: REJECTED, and nothing is stored."""
    node = lab.node(offers={"hadamard": Offer(), "cnot": Offer()})
    peer = node.identity.peer_id
    requests = [
        _bell(lab, node, reservation_token=lab.token("somebody")),
        _bell(lab, node, reservation_token=lab.token(peer, job_id="other")),
        _bell(lab, node, reservation_token=lab.token(peer, tenant_id="other")),
        _bell(lab, node, reservation_token=lab.token(peer, service_types=["hadamard"])),
        _bell(lab, node, reservation_token=lab.token(peer, expires_at=time.time() - 1)),
        _bell(lab, node, reservation_token=b"nonsense"),
        lab.request(lab.parsed("cz q[0], q[1];", 2), peer),
    ]
    for request in requests:
        record = await node.ask(request)
        assert record.outcome == gate.OUTCOME_REJECTED, record.error
        assert record.error.code == "REJECTED"
    assert node.memory.used == 0
    assert node.store.record("job", "execution") is None


@trio_test
async def test_operands_and_gates_are_those_of_the_offer(lab: ModuleType) -> None:
    """Too wide, too narrow, or outside of the gate set: REJECTED."""
    node = lab.node(
        offers={
            "cnot": Offer(qubit_min=2, qubit_max=2),
            "controlled_unitary": Offer(1, 3, frozenset({"cp"})),
            "programmable_gate": Offer(qubit_min=2, qubit_max=2),
        }
    )
    for body, outcome in (
        ("cx q[0], q[1];", gate.OUTCOME_DONE),
        ("cp(0.1) q[0], q[1];", gate.OUTCOME_DONE),
        ("crx(0.1) q[0], q[1];", gate.OUTCOME_REJECTED),
        ("c3x q[0], q[1], q[2], q[3];", gate.OUTCOME_REJECTED),
        ("x q[0];", gate.OUTCOME_REJECTED),
    ):
        made = lab.request(lab.parsed(body, 4), node.identity.peer_id, execution_id=body)
        assert (await node.ask(made)).outcome == outcome, body


@trio_test
async def test_amounts_out_of_range_are_invalid(lab: ModuleType) -> None:
    """No or too many shots, a shot beyond the counter, too many operations, times that are no numbers: INVALID."""
    node = lab.node(max_operations=1)
    many = lab.node()
    for changed in (
        {"deadline": math.nan},
        {"keep_until": math.inf},
        {"min_fidelity": math.nan},
        {"execution_id": ""},
        {"job_id": ""},
    ):
        assert (await many.ask(_bell(lab, many, **changed))).outcome == gate.OUTCOME_INVALID, changed
    for first, count in ((0, 0), (0, 1_000_001), (2**64 - 10, 64)):
        request = _bell(lab, many)
        request.shots.first, request.shots.count = first, count
        assert (await many.ask(request)).outcome == gate.OUTCOME_INVALID
    assert (await node.ask(_bell(lab, node))).outcome == gate.OUTCOME_INVALID


@trio_test
async def test_nonsense_inside_a_block_is_invalid_and_leaves_no_memory(lab: ModuleType) -> None:
    """An unknown gate in the middle of a block ends in INVALID with nothing stored, and the node goes on."""
    node = lab.node()
    request = _bell(lab, node)
    request.operations[1].name = "frobnicate"
    record = await node.ask(request)
    assert record.outcome == gate.OUTCOME_INVALID
    assert not record.fragments
    assert not record.produced
    assert not record.columns
    assert node.memory.used == 0
    assert (await node.ask(_bell(lab, node))).outcome == gate.OUTCOME_DONE


@trio_test
async def test_a_bug_is_an_internal_outcome_without_its_text(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is answered as INTERNAL, signed; the next block is executed."""
    node = lab.node()
    with monkeypatch.context() as patched:

        def broken(_self: object) -> None:
            raise ZeroDivisionError("secret")

        patched.setattr(Executor, "run", broken)
        record = await node.ask(_bell(lab, node))
    assert record.outcome == gate.OUTCOME_INTERNAL
    assert "secret" not in record.error.message
    assert node.memory.used == 0
    assert (await node.ask(_bell(lab, node))).outcome == gate.OUTCOME_DONE


@trio_test
async def test_deadlines_and_draining(lab: ModuleType) -> None:
    """After the deadline no work begins, also when it passed while the block waited for a slot; a draining node rejects."""
    node = lab.node()
    past = await node.ask(_bell(lab, node, deadline=time.time() - 1))
    assert past.outcome == gate.OUTCOME_DEADLINE
    times = iter([0.0, 0.0, 0.0, 99.0, 99.0, 99.0])
    waiting = lab.node(clock=lambda: next(times))
    record = await waiting.ask(_bell(lab, waiting, deadline=50.0))
    assert record.outcome == gate.OUTCOME_DEADLINE
    node.service.draining = True
    assert not node.service.ping().accepting
    assert (await node.ask(_bell(lab, node))).outcome == gate.OUTCOME_REJECTED
    await node.service.idle()


@trio_test
async def test_missing_inputs_are_pulled_and_local_ones_are_not(lab: ModuleType) -> None:
    """A version of another holder is asked for once; one that is here by id and digest is read in place."""
    maker, taker = lab.node("maker"), lab.node("taker")
    made = await maker.ask(_bell(lab, maker))
    local = await maker.ask(_reading(made, _bell(lab, maker)))
    assert local.outcome == gate.OUTCOME_DONE
    assert not maker.pulled
    taker.elsewhere[made.produced[0].digest] = maker.store.get(made.produced[0].id).component
    remote = await taker.ask(_reading(made, _bell(lab, taker)))
    assert remote.outcome == gate.OUTCOME_DONE
    assert [ref.digest for ref in taker.pulled] == [made.produced[0].digest]
    assert list(remote.input_digests) == [made.produced[0].digest]
    assert remote.produced[0].digest == local.produced[0].digest
    assert remote.produced[0].holder == taker.identity.peer_id


@trio_test
async def test_a_pulled_input_is_asked_for_before_it_comes_and_counts_while_it_is_used(
    lab: ModuleType,
) -> None:
    """RESOURCE_EXHAUSTED without a pull where the input alone is too large, with one where its copy is; the memory is as before."""
    maker = lab.node("maker")
    made = await maker.ask(_bell(lab, maker))
    size = made.produced[0].bytes
    for limit, pulls in ((size - 1, 0), (2 * size - 1, 1), (2 * size, 1)):
        taker = lab.node("taker", limit=limit)
        taker.elsewhere[made.produced[0].digest] = maker.store.get(made.produced[0].id).component
        record = await taker.ask(_reading(made, _bell(lab, taker)))
        fits = limit == 2 * size
        assert record.outcome == (gate.OUTCOME_DONE if fits else gate.OUTCOME_RESOURCE_EXHAUSTED), limit
        assert len(taker.pulled) == pulls
        assert taker.memory.used == (size if fits else 0)


@trio_test
async def test_an_input_that_nobody_has_is_lost(lab: ModuleType) -> None:
    """INPUT_LOST names the versions: gone at another holder, gone here, or here with another digest."""
    maker, taker = lab.node("maker"), lab.node("taker")
    made = await maker.ask(_bell(lab, maker))
    for node in (taker, maker):
        if node is maker:
            maker.service.release(gate.ReleaseRequest(job_id="job", fence=1))
        record = await node.ask(_reading(made, _bell(lab, node)))
        assert record.outcome == gate.OUTCOME_INPUT_LOST
        assert list(record.lost) == [made.produced[0].id]
    assert taker.memory.used == 0


@trio_test
async def test_inputs_that_contradict_the_block_are_invalid(lab: ModuleType) -> None:
    """Another job, other shots, precision, size, no digest, one wire twice: INVALID; too wide: RESOURCE_EXHAUSTED."""
    node = lab.node(dense_qubits=3)
    made = await node.ask(_bell(lab, node))

    def changed(change: Callable[[state.ComponentRef], object]) -> gate.ExecuteRequest:
        request = _reading(made, _bell(lab, node))
        change(request.inputs[0].ref)
        return request

    changes: list[Callable[[state.ComponentRef], object]] = [
        lambda ref: setattr(ref.id, "job_id", "other"),
        lambda ref: setattr(ref.shots, "count", 63),
        lambda ref: setattr(ref, "precision", state.PRECISION_SINGLE),
        lambda ref: setattr(ref, "bytes", 5),
        lambda ref: setattr(ref, "rows", 0),
        lambda ref: setattr(ref, "rows", 65),
        lambda ref: setattr(ref, "digest", b""),
        lambda ref: ref.wires.append(ref.wires[0]),
        lambda ref: ref.ClearField("wires"),
        lambda ref: ref.wires.reverse(),
    ]
    for number, change in enumerate(changes):
        record = await node.ask(changed(change))
        assert record.outcome == gate.OUTCOME_INVALID, number
    wide = changed(lambda ref: ref.wires.extend([7, 8]))
    assert (await node.ask(wide)).outcome == gate.OUTCOME_RESOURCE_EXHAUSTED

    def widened(ref: state.ComponentRef) -> None:
        ref.executor = state.EXECUTOR_KIND_STABILIZER
        ref.wires.extend(range(10, 1040))

    record = await node.ask(changed(widened))
    assert record.outcome == gate.OUTCOME_RESOURCE_EXHAUSTED
    assert "limit of 1024" in record.error.message


@trio_test
async def test_a_fidelity_credibly_too_low_is_refused(lab: ModuleType) -> None:
    """FIDELITY_LOW only when even the upper bound is below what the job asks; then nothing is stored."""
    node = lab.node()

    async def outcome(execution: str, asked: float, shots: int) -> int:
        request = _bell(lab, node, min_fidelity=asked, execution_id=execution, shots=shots)
        request.noise.service_fidelity["cnot"] = 0.8
        outcome: int = (await node.ask(request)).outcome
        return outcome

    assert await outcome("a", 0.95, 4000) == gate.OUTCOME_FIDELITY_LOW
    assert node.memory.used == 0
    assert await outcome("b", 0.80, 4000) == gate.OUTCOME_DONE
    assert await outcome("c", 0.95, 4) == gate.OUTCOME_DONE  # four shots prove nothing


@trio_test
async def test_states_above_the_limit_are_refused_and_nothing_happened(lab: ModuleType) -> None:
    """RESOURCE_EXHAUSTED when the component, or another version beside it, does not fit; the memory is as before."""
    small = lab.node(limit=300)
    assert (await small.ask(_bell(lab, small))).outcome == gate.OUTCOME_RESOURCE_EXHAUSTED
    assert small.memory.used == 0
    node = lab.node(limit=2 * (64 + 4 * 64) + 100)
    made = await node.ask(_bell(lab, node))
    second = await node.ask(_reading(made, _bell(lab, node)))
    third = await node.ask(_reading(made, _bell(lab, node), execution_id="third", block_id=3))
    assert (made.outcome, second.outcome) == (gate.OUTCOME_DONE, gate.OUTCOME_DONE)
    assert third.outcome == gate.OUTCOME_RESOURCE_EXHAUSTED
    assert node.store.get(made.produced[0].id) is not None


@trio_test
async def test_a_predecessor_is_consumed_when_memory_is_short_and_the_request_allows(lab: ModuleType) -> None:
    """With may_consume the input makes room, and the answer says so; a failure after that is INPUT_LOST."""
    node = lab.node(limit=2 * (64 + 4 * 64) - 10)
    made = await node.ask(_bell(lab, node, keep_until=0.0))
    refused = await node.ask(_reading(made, _bell(lab, node)))
    assert refused.outcome == gate.OUTCOME_RESOURCE_EXHAUSTED
    assert node.store.get(made.produced[0].id) is not None
    done = await node.ask(_reading(made, _bell(lab, node), may_consume=True))
    assert done.outcome == gate.OUTCOME_DONE
    assert list(done.consumed) == [made.produced[0].id]
    assert node.store.get(made.produced[0].id) is None
    tiny = lab.node(limit=2 * (64 + 4 * 64) - 10)
    made = await tiny.ask(_bell(lab, tiny))
    request = _reading(made, _bell(lab, tiny), may_consume=True)
    request.outputs[0].wires.append(9)
    lost = await tiny.ask(request)
    assert lost.outcome == gate.OUTCOME_INPUT_LOST
    assert list(lost.lost) == [made.produced[0].id]


@trio_test
async def test_a_job_is_kept_a_day_at_most(lab: ModuleType) -> None:
    """A time to keep that is centuries away does not keep a version for centuries."""
    now = time.time()
    node = lab.node()
    await node.ask(_bell(lab, node, keep_until=now + 1e10))
    assert node.store.expire(now + 3600) == 0
    assert node.store.expire(now + 25 * 3600) == 1
    assert node.memory.used == 0


@trio_test
async def test_a_job_released_while_its_block_runs_keeps_nothing(lab: ModuleType) -> None:
    """A block that ends after the release of its job answers STALE_CLAIM and leaves no bytes."""
    maker, taker = lab.node("maker"), lab.node("taker")
    made = await maker.ask(_bell(lab, maker))
    ensemble = maker.store.get(made.produced[0].id).component
    started, go_on = trio.Event(), trio.Event()

    async def slow(_ref: object, *_rest: object) -> object:
        started.set()
        await go_on.wait()
        return ensemble

    taker.pull = slow
    async with trio.open_nursery() as nursery:
        records: list[gate.ExecutionRecord] = []

        async def ask() -> None:
            records.append(await taker.ask(_reading(made, _bell(lab, taker))))

        nursery.start_soon(ask)
        await started.wait()
        taker.service.release(gate.ReleaseRequest(job_id="job", fence=1))
        go_on.set()
    assert records[0].outcome == gate.OUTCOME_STALE_CLAIM
    assert taker.memory.used == 0


@trio_test
async def test_a_cancelled_call_stops_its_thread_and_gives_its_room_back(lab: ModuleType) -> None:
    """Cancelling a call that computes for long ends within its next operation; the slot and the memory are free."""
    node = lab.node(limit=1 << 28, concurrency=1)
    body = BELL + "".join(f"h q[{i}]; cx q[{i}], q[{i - 1}];" for i in range(2, 18))
    request = lab.request(lab.parsed(body, 18), node.identity.peer_id, execution_id="long")
    # of one kind on one qubit they would be a single pass
    request.operations.extend(list(request.operations) * 1_500)
    assert not is_small(request, [])
    with trio.move_on_after(0.3) as scope:
        await node.ask(request)
    assert scope.cancelled_caught
    assert node.memory.used == 0
    assert (await node.ask(_bell(lab, node))).outcome == gate.OUTCOME_DONE


@trio_test
async def test_refusals_are_signed_too(lab: ModuleType) -> None:
    """A refusal carries the node's signature over the very bytes of its record, bound to their type."""
    node = lab.node()
    response = await node.service.execute(_bell(lab, node, reservation_token=b""))
    assert verify(node.identity.peer_id, RECORD_DOMAIN + response.record, response.signature)
    assert not verify(node.identity.peer_id, response.record, response.signature)


def test_small_blocks_stay_in_the_loop_and_large_ones_do_not(lab: ModuleType) -> None:
    """What is small counts rows that collapses and noise make, reads of many shots, and sheer numbers of operations."""
    small = lab.request(lab.parsed(BELL, 2), "n", shots=1024)
    assert is_small(small, [])
    noisy = lab.request(lab.parsed(BELL, 2), "n", shots=100_000)
    noisy.noise.readout_error = 0.1
    assert not is_small(noisy, [])
    assert not is_small(lab.request(lab.parsed("x q[0];" * 5000, 1), "n"), [])
    assert not is_small(lab.request(lab.parsed("c[0] = measure q[0];", 1, 1), "n", shots=1_000_000), [])
    operands = ", ".join(f"q[{q}]" for q in range(9))
    checks = lab.request(lab.parsed(f"syndrome_extraction {operands};", 9), "n", shots=200)
    checks.executor = state.EXECUTOR_KIND_STABILIZER
    assert is_small(checks, [])
    checks.noise.readout_error = 0.01  # which draws 57 errors a shot
    assert not is_small(checks, [])
    gates = lab.request(lab.parsed("cx q[0], q[1]; reset q[0];" * 20, 2), "n", shots=1000)
    gates.executor = state.EXECUTOR_KIND_STABILIZER
    assert not is_small(gates, [])  # 20 resets of 1000 shots
    gates.shots.count = 300
    assert is_small(gates, [])
    gates.noise.readout_error = 0.01  # which draws an error for each operation
    assert not is_small(gates, [])
    wide = lab.request(lab.parsed("".join(f"cx q[{i}], q[{i + 1}];" for i in range(19)), 20), "n")
    wide.ClearField("outputs")
    assert not is_small(wide, [])
