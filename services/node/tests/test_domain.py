"""Rows, columns, conditions, readouts, codes, tokens and stores, each against an independent derivation."""

import itertools
import math
import random
import time
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric.identity import Identity
from qmesh_model.randomness import Purpose, counter, settle, uniform
from qmesh_node.domain import kernels
from qmesh_node.domain.bits import columns_of, evaluate, message_of, pack, unpack
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, InvalidBlockError, RejectedError, StaleClaimError
from qmesh_node.domain.load import LoadMeter
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.randomness import Draws, outcomes
from qmesh_node.domain.store import Version, VersionStore
from qmesh_node.domain.syndrome import CODES, decoder, syndrome_of
from qmesh_node.domain.token import TokenChecker


def _anything(_rows: int) -> None:
    """Room for whatever is asked."""


# -- randomness ------------------------------------------------------------------------------------------------------


def test_draws_follow_the_layout_of_the_model() -> None:
    """All shots of one draw at once are the single Philox calls whose counter words the model lays out."""
    draws = Draws(seed=2**63 + 5, first_shot=1000, shots=7, parameter_set=3)
    for purpose, draw in ((Purpose.MEASURE, 0), (Purpose.SYNDROME, 5), (Purpose.READOUT, 2)):
        words = [
            np.random.Philox(
                key=2**63 + 5,
                counter=np.array(counter(1000 + s, 42, purpose, draw=draw, parameter_set=3), dtype=np.uint64),
            ).random_raw(4)[0]
            for s in range(7)
        ]
        assert draws.uniforms(42, purpose, draw).tolist() == [uniform(int(word)) for word in words]


def test_a_bit_is_one_from_p_zero_on_and_certain_outcomes_are_certain() -> None:
    """U = P(0) gives 1; P below 1e-12 is 0 and above 1 - 1e-12 is 1, whatever u is."""
    p = np.array([0.5, 0.5, 0.9e-12, 1 - 0.5e-12, 1.1e-12])
    u = np.array([0.5, np.nextafter(0.5, 0), 0.0, 1 - 2**-53, 1e-12])
    assert outcomes(u, p).tolist() == [True, False, True, False, False]
    assert outcomes(u, p).tolist() == [a >= settle(float(b)) for a, b in zip(u, p, strict=True)]


# -- ensembles -------------------------------------------------------------------------------------------------------


def test_rows_are_the_distinct_histories() -> None:
    """Splitting makes one row for each (row, label) that occurs, and merging one for each pair that occurs."""
    one = Ensemble.zero(0, 6, np.complex128)
    labels = one.split(np.array([0, 1, 0, 1, 0, 0]), 2, _anything)
    assert labels.tolist() == [0, 1]
    assert one.row_of_shot.tolist() == [0, 1, 0, 1, 0, 0]
    other = Ensemble.zero(1, 6, np.complex128)
    other.split(np.array([0, 1, 0, 1, 0, 2]), 3, _anything)
    merged = one.merge(other, _anything)
    assert merged.rows == 3
    assert merged.wires == (0, 1)
    assert merged.row_of_shot.tolist() == [0, 2, 0, 2, 0, 1]


def test_the_first_operand_is_the_least_significant_bit() -> None:
    """X on the wire at position 0 moves the amplitude from index 0 to index 1, whatever else is stored."""
    merged = Ensemble.zero(4, 1, np.complex128).merge(Ensemble.zero(2, 1, np.complex128), _anything)
    kernels.apply_matrix(merged.states, (merged.position(4),), kernels.gate_matrix("x", ()))
    assert np.flatnonzero(merged.states[0]).tolist() == [1]


def test_a_version_is_read_only_and_its_digest_covers_rows_and_shots() -> None:
    """Frozen arrays refuse writes; another state or another row of one shot is another digest."""
    one, two = Ensemble.zero(0, 4, np.complex128), Ensemble.zero(0, 4, np.complex128)
    two.row_of_shot = np.array([0, 0, 0, 0], dtype=np.uint32)
    assert one.digest() == two.digest()
    one.freeze()
    with pytest.raises(ValueError, match="read-only"):
        one.states[0, 0] = 0
    two.states = np.vstack([two.states, two.states])
    two.row_of_shot[2] = 1
    assert one.digest() != two.digest()


# -- bits and conditions ---------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_columns_travel_bit_by_bit(bits: list[bool]) -> None:
    """Packing puts shot s in bit s mod 8 of byte s / 8; unpacking is its inverse."""
    column = np.array(bits)
    packed = pack(column)
    assert [packed[s // 8] >> (s % 8) & 1 for s in range(len(bits))] == [int(b) for b in bits]
    assert (unpack(packed, len(bits)) == column).all()


def test_columns_of_the_wrong_length_or_digest_are_refused() -> None:
    """A column with a byte too many, or changed after its digest was made, is INVALID."""
    good = message_of(3, np.array([True] * 9))
    assert columns_of([good], 9)[3].all()
    with pytest.raises(InvalidBlockError):
        columns_of([good], 17)
    good.bits = b"\0\0"
    with pytest.raises(InvalidBlockError):
        columns_of([good], 9)


_SIGNS = {
    circuit.COMPARISON_EQUAL: lambda a, b: a == b,
    circuit.COMPARISON_NOT_EQUAL: lambda a, b: a != b,
    circuit.COMPARISON_LESS: lambda a, b: a < b,
    circuit.COMPARISON_LESS_EQUAL: lambda a, b: a <= b,
    circuit.COMPARISON_GREATER: lambda a, b: a > b,
    circuit.COMPARISON_GREATER_EQUAL: lambda a, b: a >= b,
}


@pytest.mark.parametrize("comparison", _SIGNS)
@pytest.mark.parametrize("width", [1, 5, 64, 70])
def test_registers_of_any_width_compare_as_integers(
    comparison: circuit.Comparison.ValueType, width: int
) -> None:
    """Bits above the 64th count, too: 2^69 + 5 is not 5."""
    rng = random.Random(width)
    values = [rng.getrandbits(width) for _ in range(30)] + [5 % (1 << width), (1 << width) - 1, 0]
    values += [(1 << (width - 1)) | 5] if width > 5 else []
    columns = {i: np.array([v >> i & 1 == 1 for v in values]) for i in range(width)}
    for constant in (0, 5, rng.getrandbits(min(width, 64)), (1 << 64) - 1):
        message = circuit.Condition(
            tokens=[
                circuit.ConditionToken(
                    comparison=circuit.RegisterComparison(
                        versions=range(width), comparison=comparison, value=constant
                    )
                )
            ]
        )
        found = evaluate(message, columns, len(values))
        assert found.tolist() == [_SIGNS[comparison](v, constant) for v in values]


def test_conditions_are_postfix_trees() -> None:
    """NOT (a AND b) XOR c OR never-written, shot by shot."""
    rows = list(itertools.product([False, True], repeat=3))
    columns = {i: np.array([row[i] for row in rows]) for i in range(3)}
    token, operator = circuit.ConditionToken, circuit.LogicalOperator
    message = circuit.Condition(
        tokens=[
            token(version=0),
            token(version=1),
            token(operator=operator.LOGICAL_OPERATOR_AND),
            token(operator=operator.LOGICAL_OPERATOR_NOT),
            token(version=2),
            token(operator=operator.LOGICAL_OPERATOR_XOR),
            token(version=-1),
            token(operator=operator.LOGICAL_OPERATOR_OR),
        ]
    )
    assert evaluate(message, columns, 8).tolist() == [(not (a and b)) ^ c for a, b, c in rows]


# -- joint readout ---------------------------------------------------------------------------------------------------


def _random_ensemble(seed: int, wires: int, shots: int) -> Ensemble:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(3, 1 << wires)) + 1j * rng.normal(size=(3, 1 << wires))
    states /= np.linalg.norm(states, axis=1)[:, None]
    return Ensemble(tuple(range(wires)), states, rng.integers(0, 3, shots).astype(np.uint32))


def test_a_joint_readout_draws_one_bit_after_another() -> None:
    """Each bit is 1 iff u >= P(0 | row, bits drawn before), in the order asked for, computed here from the amplitudes."""
    ensemble, wires = _random_ensemble(1, 5, 200), [3, 0, 4]
    uniforms = [np.random.default_rng(i).random(200) for i in range(3)]
    columns = ensemble.read(wires, uniforms)
    index = np.arange(32)
    for shot in range(200):
        weights = np.abs(ensemble.states[ensemble.row_of_shot[shot]]) ** 2
        for wire, u, column in zip(wires, uniforms, columns, strict=True):
            bit = index >> wire & 1
            one = bool(u[shot] >= weights[bit == 0].sum() / weights.sum())
            assert column[shot] == one
            weights = np.where(bit == one, weights, 0)


def test_a_joint_readout_does_not_depend_on_the_storage_order() -> None:
    """The same state with its axes in another order gives the same bits and stays what it was."""
    ensemble = _random_ensemble(2, 6, 4096)
    order = [4, 1, 5, 0, 3, 2]
    axes = ensemble.states.reshape((3,) + (2,) * 6)
    moved = np.ascontiguousarray(axes.transpose([0, *(6 - w for w in reversed(order))])).reshape(3, -1)
    other = Ensemble(tuple(order), moved, ensemble.row_of_shot)
    uniforms = [np.random.default_rng(i).random(4096) for i in range(6)]
    before = other.digest()
    one, two = ensemble.read(range(6), uniforms), other.read(range(6), uniforms)
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert other.digest() == before


# -- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 4, 7, 9])
def test_stabilisers_commute(size: int) -> None:
    """Every stabiliser has syndrome 0: the checks can be measured together."""
    assert all(syndrome_of(CODES[size], s) == 0 for s in CODES[size].stabilizers)


@pytest.mark.parametrize("size", [3, 7, 9])
def test_single_errors_are_corrected(size: int) -> None:
    """The correction of every single error that the code knows has the error's syndrome and leaves a stabiliser."""
    code, letters = CODES[size], (1,) if size == 3 else (1, 2, 3)
    group = {(0,) * size}
    for s in code.stabilizers:
        group |= {tuple(_times(a, b) for a, b in zip(g, s, strict=True)) for g in group}
    for qubit, letter in itertools.product(range(size), letters):
        error = tuple(letter if i == qubit else 0 for i in range(size))
        correction = decoder(size)[syndrome_of(code, error)]
        assert syndrome_of(code, correction) == syndrome_of(code, error)
        assert tuple(_times(a, b) for a, b in zip(error, correction, strict=True)) in group


def _times(a: int, b: int) -> int:
    """Product of Pauli letters up to phase, by their (x, z) bits."""
    bits = {0: 0, 1: 1, 2: 3, 3: 2}
    return {v: k for k, v in bits.items()}[bits[a] ^ bits[b]]


@pytest.mark.parametrize("size", [3, 4, 7, 9])
def test_syndromes_are_those_of_explicit_ancillas(lab: ModuleType, size: int) -> None:
    """A single X error on encoded zeros shows the syndrome that the anticommuting checks predict, then it is undone."""
    code = CODES[size]
    for qubit in range(size):
        checks = len(code.stabilizers)
        operands = ", ".join(f"q[{i}]" for i in range(size))
        body = f"syndrome_extraction {operands}; x q[{qubit}]; syndrome_extraction {operands} -> c[0:{checks - 1}];"
        body += f" syndrome_extraction {operands} -> d;"
        circuit_ = lab.parse(lab.HEADER + f"qubit[{size}] q; bit[{checks}] c; bit[{checks}] d;" + body)
        run = lab.run_cuts(circuit_, lab.cut(circuit_, None), Draws(5, 0, 64))
        error = tuple(1 if i == qubit else 0 for i in range(size))
        known = syndrome_of(code, error)
        if code.corrects:
            for k in range(checks):
                assert (run.columns[k] == bool(known >> k & 1)).all()
                assert not run.columns[checks + k].any()
        else:
            for k in range(checks):
                assert (run.columns[k] == run.columns[checks + k]).all()


# -- tokens, stores, load --------------------------------------------------------------------------------------------


def test_tokens_are_checked_in_every_field(lab: ModuleType) -> None:
    """Another job, node, key, later claim, time, or changed byte is REJECTED; of two keys either is good."""
    second = Identity(b"second".ljust(32))
    checker = TokenChecker([lab.RESERVATION.public_key, second.public_key])

    def check(token: bytes) -> None:
        checker.check(token, job_id="job", node_id="n", fence=5, now=time.time())

    check(lab.token("n", fence=5))
    check(lab.token("n", key=second))
    good = lab.token("n")
    stranger = Identity(b"stranger".ljust(32))
    bad = [
        lab.token("m"),
        lab.token("n", job_id="other"),
        lab.token("n", fence=6),
        lab.token("n", expires_at=time.time() - 1),
        lab.token("n", expires_at=math.nan),
        lab.token("n", key=stranger),
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:10],
        b"",
        b"\xff" * 40,
    ]
    for token in bad:
        with pytest.raises(RejectedError):
            check(token)


def test_only_so_many_checked_tokens_are_remembered(lab: ModuleType) -> None:
    """A token is good again and again, also after thousands of others."""
    checker = TokenChecker([lab.RESERVATION.public_key])
    first = lab.token("n")
    for number in range(4200):
        checker._checked[str(number).encode()] = checker.check(first, job_id="job", node_id="n", now=0.0)
    checker.check(lab.token("n", data_qubits=1), job_id="job", node_id="n", now=0.0)
    assert len(checker._checked) < 4200


def _version(position: int, job: str = "job") -> Version:
    """A version of 100 bytes: one qubit, one row, 17 shots."""
    identity = state.ComponentId(job_id=job, component=1, position=position)
    ref = state.ComponentRef(id=identity, digest=bytes([position]), bytes=100)
    return Version(ref, Ensemble.zero(0, 17, np.complex128))


def _answer(*versions: Version) -> gate.ExecuteResponse:
    record = gate.ExecutionRecord(produced=[v.ref for v in versions])
    return gate.ExecuteResponse(record=record.SerializeToString())


def test_a_commit_is_all_or_nothing() -> None:
    """When the versions of an execution do not fit, none of them and no record is there."""
    store = VersionStore(Memory(250))
    claim = store.claim("job", 1, math.inf)
    store.commit(claim, "a", _answer(_version(0)), [_version(0)])
    with pytest.raises(ExhaustedError):
        store.commit(claim, "b", _answer(_version(1), _version(2)), [_version(1), _version(2)])
    assert store.record("job", "b") is None
    assert store.get(_version(1).ref.id) is None
    assert store.record("job", "a") is not None


def test_a_record_counts_while_its_versions_are_there() -> None:
    """After a version is released, or replaced by one of another digest, its execution may happen again."""
    store = VersionStore(Memory(1000))
    claim = store.claim("job", 1, math.inf)
    version = _version(0)
    store.commit(claim, "a", _answer(version), [version])
    other = _version(0)
    other.ref.digest = b"other"
    store.commit(claim, "b", _answer(other), [other])
    assert store.record("job", "a") is None
    assert store.record("job", "b") is not None
    assert store.release("job", 1, [version.ref.id]) == 100
    assert store.record("job", "b") is None


def test_a_released_job_keeps_its_fence_and_takes_no_late_commit() -> None:
    """After everything is released a lower fence is still refused, and a block that was running leaves nothing."""
    memory = Memory(1000)
    store = VersionStore(memory)
    claim = store.claim("job", 3, time.time() + 60)
    store.commit(claim, "a", _answer(_version(0)), [_version(0)])
    assert store.release("job", 3, []) == 100
    assert memory.used == 0
    with pytest.raises(StaleClaimError):
        store.claim("job", 2, 0)
    with pytest.raises(StaleClaimError):
        store.commit(claim, "late", _answer(_version(1)), [_version(1)])
    assert memory.used == 0


def test_a_higher_fence_ends_older_commits_and_releases() -> None:
    """Once a new owner claimed the job, the old one neither commits nor releases."""
    store = VersionStore(Memory(1000))
    old = store.claim("job", 1, math.inf)
    store.claim("job", 2, math.inf)
    with pytest.raises(StaleClaimError):
        store.commit(old, "a", _answer(_version(0)), [_version(0)])
    with pytest.raises(StaleClaimError):
        store.release("job", 1, [])


def test_a_release_names_its_own_job_only() -> None:
    """Versions of another job are not released by naming them."""
    store = VersionStore(Memory(1000))
    for job in ("job", "other"):
        version = _version(0, job=job)
        store.commit(store.claim(job, 1, math.inf), job, _answer(version), [version])
    assert store.release("job", 1, [_version(0, job="other").ref.id]) == 0
    assert store.get(_version(0, job="other").ref.id) is not None


def test_jobs_past_their_time_are_forgotten() -> None:
    """Versions live until their time, and their memory comes back then."""
    memory = Memory(1000)
    store = VersionStore(memory)
    store.commit(store.claim("job", 1, 50.0), "a", _answer(_version(0)), [_version(0)])
    store.claim("job", 1, 100.0)
    assert store.expire(60.0) == 0
    assert store.expire(101.0) == 1
    assert memory.used == 0
    assert store.get(_version(0).ref.id) is None


def test_the_busy_fraction_is_that_of_the_last_ten_seconds() -> None:
    """Two and a half seconds of work in the window are a quarter; what is older counts no more."""
    meter = LoadMeter()
    meter.add(100.0, 101.0)
    meter.add(104.0, 105.5)
    assert meter.busy(106.0) == pytest.approx(0.25)
    assert meter.busy(110.5) == pytest.approx(0.2)
    assert meter.busy(200.0) == 0.0
