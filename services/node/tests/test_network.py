"""Nodes on a real network: gate and state protocols over libp2p, and what their files say."""

import functools
import gc
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import trio

from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric import protocols
from qmesh_fabric.channel import Channels
from qmesh_fabric.errors import PeerGone, RemoteError
from qmesh_fabric.frames import Framer
from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity
from qmesh_fabric.overlap import compare
from qmesh_fabric.state import pull
from qmesh_node.adapters.fabric import NodeFabric
from qmesh_node.adapters.overlaps import OpenedOverlaps
from qmesh_node.adapters.peers import Directory, PeersFile
from qmesh_node.adapters.states import OpenedStates, PulledStates, component_of
from qmesh_node.domain.admission import Limits
from qmesh_node.settings import (
    BehaviourDescription,
    Description,
    next_epoch,
    read_description,
    read_token_keys,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the library leaves them
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
RUNTIME = Identity(b"runtime".ljust(32))


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


def trio_test(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a test in trio, with a deadline."""

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> None:
        async def limited() -> None:
            with trio.fail_after(20):
                await function(*arguments, **named)

        trio.run(limited)

    return run


@dataclass
class Peer:
    """A node that is on the network."""

    node: Any
    host: Host
    directory: Directory
    fabric: NodeFabric

    @property
    def peer_id(self) -> str:
        """Its peer id."""
        return self.host.peer_id


@asynccontextmanager
async def _peer(
    lab: ModuleType,
    folder: Path,
    name: str,
    *,
    admits: Callable[[str], bool] = lambda _: True,
    **behaviour: Any,
) -> AsyncIterator[Peer]:
    node = lab.node(name)
    peers = folder / "runtime.peers"
    peers.write_text(RUNTIME.peer_id + "\n")
    runtimes, directory = PeersFile(peers), Directory()
    description = Description(
        name=name, services=(), data_qubits=4, behaviour=BehaviourDescription(**behaviour)
    )
    async with (
        open_host(node.identity, [ANYWHERE], admits=admits, pubsub="publish") as host,
        trio.open_nursery() as nursery,
    ):
        source = PulledStates(host)
        node.pull = source.pull
        fabric = NodeFabric(
            host=host,
            identity=node.identity,
            service=node.service,
            memory=node.memory,
            store=node.store,
            states=OpenedStates(
                node.store, lab.TokenChecker([lab.RESERVATION.public_key]), runtimes.__contains__
            ),
            comparisons=OpenedOverlaps(node.store, node.memory, Limits(dense_qubits=4, factor_bytes=1 << 16)),
            dense_qubits=22,
            description=description,
            runtimes=runtimes,
            directory=directory,
            registries=[],
            advertised=host.listen_addrs(),
            pool_token="",
            on_ready=lambda: None,
            on_waiting=lambda _reason: None,
        )
        nursery.start_soon(fabric.run)
        yield Peer(node, host, directory, fabric)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _runtime(
    identity: Identity = RUNTIME,
) -> AsyncIterator[tuple[Host, Callable[..., Awaitable[gate.GateResponse]]]]:
    async with open_host(identity, []) as host, trio.open_nursery() as nursery:
        channels = Channels(host, protocols.GATE)
        await nursery.start(channels.run)

        async def call(
            peer: Peer, request: gate.GateRequest | bytes, seconds: float = 5.0
        ) -> gate.GateResponse:
            payload = request if isinstance(request, bytes) else request.SerializeToString()
            channel = channels.get(peer.peer_id, peer.host.listen_addrs())
            return gate.GateResponse.FromString(await channel.call(payload, seconds))

        yield host, call
        nursery.cancel_scope.cancel()


def _bell(lab: ModuleType, peer: Peer, **changed: Any) -> gate.GateRequest:
    circuit = lab.parsed("h q[0]; cx q[0], q[1];", 2)
    return gate.GateRequest(execute=lab.request(circuit, peer.peer_id, **changed))


def _made(response: gate.GateResponse) -> state.ComponentRef:
    record = gate.ExecutionRecord.FromString(response.execute.record)
    assert record.outcome == gate.OUTCOME_DONE, record.error
    return record.produced[0]


@trio_test
async def test_a_runtime_executes_and_nobody_else(lab: ModuleType, tmp_path: Path) -> None:
    """A configured runtime gets a signed answer, its ping and its release; another peer is refused the gate."""
    async with _peer(lab, tmp_path, "one") as peer, _runtime() as (_, call):
        assert _made(await call(peer, _bell(lab, peer))).holder == peer.peer_id
        assert (await call(peer, gate.GateRequest(ping=gate.PingRequest()))).ping.accepting
        release = gate.GateRequest(release=gate.ReleaseRequest(job_id="job", fence=1))
        assert (await call(peer, release)).release.freed_bytes == 64 + 4 * 64
        async with _runtime(Identity(b"stranger".ljust(32))) as (_, stranger):
            with pytest.raises(PeerGone):
                await stranger(peer, _bell(lab, peer))


@trio_test
async def test_garbage_on_the_gate_is_a_typed_refusal(lab: ModuleType, tmp_path: Path) -> None:
    """Bytes that are no request, a request for nothing and a stale release are refused with codes; the node goes on."""
    async with _peer(lab, tmp_path, "one") as peer, _runtime() as (_, call):
        for payload in (b"\xff\xff\xff", b"", bytes(range(256))):
            with pytest.raises(RemoteError) as refused:
                await call(peer, payload)
            assert refused.value.code == "INVALID_ARGUMENT"
        await call(peer, _bell(lab, peer, fence=4))
        with pytest.raises(RemoteError) as refused:
            await call(peer, gate.GateRequest(release=gate.ReleaseRequest(job_id="job", fence=3)))
        assert refused.value.code == "STALE_CLAIM"
        hostile = _bell(lab, peer, fence=4, execution_id="hostile")
        hostile.execute.operations[0].wires.append(2**32 - 1)
        record = gate.ExecutionRecord.FromString((await call(peer, hostile)).execute.record)
        assert record.outcome == gate.OUTCOME_INVALID
        assert (await call(peer, gate.GateRequest(ping=gate.PingRequest()))).ping.accepting


@trio_test
async def test_a_node_pulls_its_input_from_the_holder(lab: ModuleType, tmp_path: Path) -> None:
    """A block on another node reads the version byte for byte, under its own token, although the holder saw no later claim."""
    async with (
        _peer(lab, tmp_path, "one") as one,
        _peer(lab, tmp_path, "two") as two,
        _runtime() as (_, call),
    ):
        one.directory.nodes = {two.peer_id: []}
        ref = _made(await call(one, _bell(lab, one)))
        request = _bell(lab, two, fence=3, execution_id="next").execute
        request.reservation_token = lab.token(two.peer_id, fence=3)
        request.ClearField("fresh_wires")
        request.inputs.add(ref=ref, addresses=one.host.listen_addrs())
        request.outputs[0].position = 1
        made = _made(await call(two, gate.GateRequest(execute=request)))
        assert made.holder == two.peer_id
        expected = lab.execute(
            lab.Block(
                operations=request.operations,
                fragments=request.fragments,
                outputs=request.outputs,
                fresh_wires=[],
                draws=lab.Draws(7, 0, 64),
            ),
            one.node.store.get(ref.id).component,
        )
        assert expected.components[0].digest() == made.digest


@trio_test
async def test_pulls_are_refused_with_their_reasons(lab: ModuleType, tmp_path: Path) -> None:
    """A node needs a token of its own for the job, a runtime a fence that is not stale, and the version must be here."""
    async with _peer(lab, tmp_path, "one") as one, _runtime() as (runtime, call):
        ref = _made(await call(one, _bell(lab, one, fence=2)))
        unknown = state.ComponentRef()
        unknown.CopyFrom(ref)
        unknown.id.position = 9
        other = state.ComponentRef()
        other.CopyFrom(ref)
        other.digest = bytes(32)
        addresses = one.host.listen_addrs()

        async def code(host: Host, wanted: state.ComponentRef, **proof: Any) -> str:
            try:
                await pull(host, wanted, addresses, **proof)
            except RemoteError as error:
                return error.code
            return "GRANTED"

        assert await code(runtime, ref, fence=1) == "STALE_CLAIM"
        assert await code(runtime, ref, fence=2) == "GRANTED"
        assert await code(runtime, ref, fence=3) == "GRANTED"
        assert await code(runtime, unknown, fence=2) == "NOT_FOUND"
        assert await code(runtime, other, fence=2) == "DIGEST_MISMATCH"
        async with open_host(Identity(b"two".ljust(32)), []) as two:
            with pytest.raises(PeerGone):  # it is in no directory
                await code(two, ref, token=lab.token(two.peer_id))
            one.directory.nodes = {two.peer_id: []}
            assert await code(two, ref, token=lab.token(two.peer_id)) == "GRANTED"
            assert await code(two, ref, token=lab.token("somebody")) == "REJECTED"
            assert await code(two, ref, token=lab.token(two.peer_id, job_id="other")) == "REJECTED"
            assert await code(two, ref, token=b"") == "REJECTED"
            assert await code(two, ref, fence=2) == "REJECTED"


def _factors(*vectors: Any) -> bytes:
    return np.array(vectors, dtype=np.complex128).tobytes()


BELL = (0.5**0.5, 0, 0, 0.5**0.5)


@trio_test
async def test_a_runtime_has_a_version_compared(lab: ModuleType, tmp_path: Path) -> None:
    """Overlaps with each factor, to the phase, for each row, and the row of each shot; the node holds no more than before."""
    async with _peer(lab, tmp_path, "one") as one, _runtime() as (runtime, call):
        circuit = lab.parsed("h q[0]; c[0] = measure q[0]; cx q[0], q[1]; t q[0]; h q[1];", 2, 1)
        ref = _made(await call(one, gate.GateRequest(execute=lab.request(circuit, one.peer_id))))
        component = one.node.store.get(ref.id).component
        before = one.node.memory.used
        vectors = np.random.default_rng(3).normal(size=(3, 8)).view(np.complex128)
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
        found = await compare(runtime, ref, one.host.listen_addrs(), vectors.tobytes(), terms=3, fence=1)
        overlaps = np.frombuffer(found.values, dtype=np.complex128).reshape(3, 2)
        assert overlaps == pytest.approx(vectors.conj() @ component.states.T, abs=1e-14)
        assert np.array_equal(np.frombuffer(found.row_of_shot, dtype=np.uint32), component.row_of_shot)
        assert (found.rows, one.node.memory.used) == (2, before)


@trio_test
async def test_comparisons_are_refused_with_their_reasons(lab: ModuleType, tmp_path: Path) -> None:
    """Stale fence, foreign job, unknown version, other digest or wires, factors that are none or too many: typed, nothing is kept."""
    async with _peer(lab, tmp_path, "one") as one, _runtime() as (runtime, call):
        ref = _made(await call(one, _bell(lab, one, fence=2)))
        before, addresses = one.node.memory.used, one.host.listen_addrs()

        async def code(
            factors: bytes = _factors(BELL),
            *,
            host: Host = runtime,
            terms: int = 1,
            fence: int = 2,
            **other: Any,
        ) -> str:
            wanted = state.ComponentRef()
            wanted.CopyFrom(ref)
            for name, value in other.items():
                if name == "wires":
                    wanted.ClearField("wires")
                    wanted.wires.extend(value)
                else:
                    setattr(wanted if name == "digest" else wanted.id, name, value)
            try:
                await compare(host, wanted, addresses, factors, terms=terms, fence=fence)
            except RemoteError as error:
                return error.code
            finally:
                assert one.node.memory.used == before
            return "GRANTED"

        assert await code() == "GRANTED"
        assert await code(fence=3) == "GRANTED"
        assert await code(fence=1) == "STALE_CLAIM"
        assert await code(job_id="other") == "NOT_FOUND"
        assert await code(component=9) == "NOT_FOUND"
        assert await code(position=9) == "NOT_FOUND"
        assert await code(digest=bytes(32)) == "DIGEST_MISMATCH"
        assert await code(wires=[1, 0]) == "INVALID_ARGUMENT"
        assert await code(b"", terms=0) == "INVALID_ARGUMENT"
        assert await code(_factors((1, 0, 0, 1))) == "INVALID_ARGUMENT"
        assert await code(_factors((float("nan"), 0, 0, 0))) == "INVALID_ARGUMENT"
        assert await code(_factors(*[BELL] * 1024), terms=1024) == "GRANTED"
        assert await code(b"", terms=1025) == "RESOURCE_EXHAUSTED"
        assert await code(b"", terms=2**32 - 1) == "RESOURCE_EXHAUSTED"
        one.directory.nodes = {"two": []}
        async with open_host(Identity(b"two".ljust(32)), []) as two:
            with pytest.raises(PeerGone):  # only runtimes compare
                await code(host=two)
        assert one.node.store.get(ref.id).ref == ref
        assert (await call(one, gate.GateRequest(ping=gate.PingRequest()))).ping.accepting


@trio_test
async def test_room_for_factors_is_admitted_before_they_come(lab: ModuleType, tmp_path: Path) -> None:
    """A node without the bytes refuses; with a push under way its bytes are counted, and given back when the push breaks."""
    async with _peer(lab, tmp_path, "one") as one, _runtime() as (runtime, call):
        ref = _made(await call(one, _bell(lab, one)))
        before, addresses = one.node.memory.used, one.host.listen_addrs()
        one.node.memory.change(one.node.memory.free - 100, "somebody else")
        with pytest.raises(RemoteError) as refused:
            await compare(runtime, ref, addresses, _factors(BELL), terms=1, fence=1)
        assert refused.value.code == "RESOURCE_EXHAUSTED"
        one.node.memory.change(before - one.node.memory.used, "somebody else")
        stream = await runtime.open_stream(one.peer_id, addresses, protocols.OVERLAP)
        framer = Framer(stream)
        request = state.OverlapRequest(id=ref.id, digest=ref.digest, fence=1, wires=ref.wires, terms=1)
        await framer.send(request.SerializeToString())
        assert not state.OverlapAdmission.FromString(await framer.receive()).HasField("error")
        assert one.node.memory.used >= before + 64 + 4 * 64
        await framer.send(state.StateChunk(data=bytes(16)).SerializeToString())
        await stream.reset()
        while one.node.memory.used != before:  # noqa: ASYNC110 - what it waits for has no event to tell of it
            await trio.sleep(0.005)
        assert one.node.store.get(ref.id).ref == ref


@trio_test
async def test_a_version_released_during_a_push_is_not_compared(lab: ModuleType, tmp_path: Path) -> None:
    """A release, or a takeover of the job, between admission and answer: a typed refusal after the factors."""
    async with _peer(lab, tmp_path, "one") as one, _runtime() as (runtime, call):
        for fence, code in ((1, "NOT_FOUND"), (5, "STALE_CLAIM")):
            ref = _made(await call(one, _bell(lab, one, fence=1, execution_id=str(fence))))
            stream = await runtime.open_stream(one.peer_id, one.host.listen_addrs(), protocols.OVERLAP)
            framer = Framer(stream)
            request = state.OverlapRequest(
                id=ref.id,
                digest=ref.digest,
                fence=1,
                wires=ref.wires,
                terms=1,
                factors_digest=hashlib.sha256(_factors(BELL)).digest(),
            )
            await framer.send(request.SerializeToString())
            assert not state.OverlapAdmission.FromString(await framer.receive()).HasField("error")
            await call(one, gate.GateRequest(release=gate.ReleaseRequest(job_id="job", fence=fence)))
            await framer.send(state.StateChunk(data=_factors(BELL)).SerializeToString())
            answer = state.OverlapHeader.FromString(await framer.receive())
            assert (answer.error.code, answer.total_bytes) == (code, 0)


@trio_test
async def test_a_refused_or_unreachable_input_is_lost(lab: ModuleType, tmp_path: Path) -> None:
    """INPUT_LOST when the holder is gone, and when it serves another digest; equal pulls at once are one transfer."""
    async with _peer(lab, tmp_path, "two") as two, _runtime() as (_, call):
        async with _peer(lab, tmp_path, "one") as one:
            one.directory.nodes = {two.peer_id: []}
            ref = _made(await call(one, _bell(lab, one)))
            addresses = one.host.listen_addrs()
            found = []

            async def again() -> None:
                token = lab.token(two.peer_id)
                found.append(await two.node.pull(ref, addresses, token, lab.time.time() + 5))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(again)
            assert len({id(ensemble) for ensemble in found}) == 1
            wrong = _bell(lab, two, execution_id="wrong").execute
            wrong.ClearField("fresh_wires")
            wrong.inputs.add(ref=ref, addresses=addresses)
            wrong.inputs[0].ref.digest = bytes(32)
            record = (await call(two, gate.GateRequest(execute=wrong))).execute.record
            assert gate.ExecutionRecord.FromString(record).outcome == gate.OUTCOME_INPUT_LOST
        gone = wrong
        gone.execution_id, gone.inputs[0].ref.digest = "gone", ref.digest
        record = (await call(two, gate.GateRequest(execute=gone), 15)).execute.record
        assert gate.ExecutionRecord.FromString(record).outcome == gate.OUTCOME_INPUT_LOST


@trio_test
async def test_a_node_that_drops_never_answers(lab: ModuleType, tmp_path: Path) -> None:
    """With drop 1 an Execute times out and nothing was executed, while pings are answered."""
    async with _peer(lab, tmp_path, "one", drop=1.0) as peer, _runtime() as (_, call):
        with pytest.raises(TimeoutError):
            await call(peer, _bell(lab, peer), 0.3)
        assert (await call(peer, gate.GateRequest(ping=gate.PingRequest()))).ping.accepting
        assert peer.node.journal == []


@trio_test
async def test_a_link_is_probed_and_an_unreachable_peer_is_said(lab: ModuleType, tmp_path: Path) -> None:
    """The round trip of a state stream is measured and advertised for a described link; a dead peer is unreachable."""
    async with _peer(lab, tmp_path, "one") as one, _peer(lab, tmp_path, "two") as two:
        one.directory.nodes = {two.peer_id: []}
        result = await two.fabric._probe_one(one.peer_id, one.host.listen_addrs())
        assert result.reachable
        assert 0 < result.rtt_seconds < 1
        dead = Identity(b"dead".ljust(32)).peer_id
        assert not (await two.fabric._probe_one(dead, [f"/ip4/127.0.0.1/tcp/9/p2p/{dead}"])).reachable


@trio_test
async def test_an_advertisement_says_what_the_description_says(lab: ModuleType, tmp_path: Path) -> None:
    """Counter goes up, behaviour is not betrayed, and a draining node says so of every service."""
    async with _peer(lab, tmp_path, "one", true_fidelity=0.5) as peer:
        peer.fabric._description = Description.model_validate(
            {
                "name": "one",
                "services": [{"service_type": "cnot", "fidelity": 0.99, "gate_set": ["cx"]}],
                "data_qubits": 4,
                "behaviour": {"true_fidelity": 0.5},
            }
        )
        first, second = peer.fabric.advertisement(), peer.fabric.advertisement()
        assert (first.node_id, first.epoch, second.counter - first.counter) == (peer.peer_id, 1, 1)
        assert [(s.service_type, s.fidelity, list(s.gate_set)) for s in first.services] == [
            ("cnot", 0.99, ["cx"])
        ]
        assert b"true_fidelity" not in first.SerializeToString()
        await peer.fabric._obey(control.ControlCommand(drain=control.Drain()))
        assert peer.fabric.advertisement().services[0].availability == 3
        assert not peer.node.service.ping().accepting


# -- bytes and files -------------------------------------------------------------------------------------------------


def test_bytes_of_a_lying_holder_are_no_ensemble() -> None:
    """Another size, rows that are not there, and amplitudes that are not normalised or no numbers: LookupError."""
    states = np.array([[1, 0], [0.6, 0.8]], dtype=np.complex128)
    rows = np.array([0, 1, 1], dtype=np.uint32)
    ref = state.ComponentRef(
        wires=[4], rows=2, precision=state.PRECISION_DOUBLE, shots=state.ShotRange(count=3)
    )

    def made(states: np.ndarray, rows: np.ndarray, cut: int = 0) -> Any:
        data = bytearray(states.tobytes() + rows.tobytes())
        return component_of(ref, data[: len(data) - cut], states.nbytes)

    assert made(states, rows).row_of_shot.tolist() == [0, 1, 1]
    for lie in (
        (states, rows, 4),
        (states, rows, 1),
        (states[:1], rows, 0),
        (states, np.array([0, 1, 2], dtype=np.uint32), 0),
        (states * 1.1, rows, 0),
        (states * np.nan, rows, 0),
        (np.where(states == 1, np.inf, states), rows, 0),
    ):
        with pytest.raises(LookupError):
            made(*lie)


def test_the_peers_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A peer that is added is known at once; while the file is away or broken, what was read before holds."""
    path = tmp_path / "peers"
    peers = PeersFile(path)
    assert "a" not in peers
    path.write_text("a\n")
    assert "a" in peers
    assert "b" not in peers
    path.write_text("a\nb\n")
    assert "b" in peers
    path.write_bytes(b"\xff\xfe")
    assert "b" in peers
    path.unlink()
    assert "b" in peers


def test_boots_are_counted(tmp_path: Path) -> None:
    """Each boot has the next number; a file with something else is refused by its name."""
    path = tmp_path / "epoch"
    assert [next_epoch(path) for _ in range(3)] == [1, 2, 3]
    path.write_text("x")
    with pytest.raises(ValueError, match="epoch holds no boot number"):
        next_epoch(path)


def test_token_keys_are_one_or_two(tmp_path: Path, lab: ModuleType) -> None:
    """None, three, or a line that is no key is refused by the file's name."""
    path, key = tmp_path / "token.keys", lab.RESERVATION.public_key.hex()
    path.write_text(f"{key}\n{key}\n")
    assert read_token_keys(path) == [lab.RESERVATION.public_key] * 2
    for text in ("", f"{key}\n" * 3, "xyz", key[:-2]):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"token\.keys"):
            read_token_keys(path)
    with pytest.raises(ValueError, match="none"):
        read_token_keys(tmp_path / "none")


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_qubits": 0},
        {"name": "Not A Name"},
        {"services": [{"service_type": "cnot", "fidelity": 1.5}]},
        {"behaviour": {"drop": 2}},
        {"behaviour": {"true_fidelity": float("nan")}},
        {"unknown": 1},
    ],
)
def test_a_description_out_of_range_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """What makes no sense in the description file is named before anything starts."""
    path = tmp_path / "node.json"
    path.write_text(json.dumps({"name": "n", "services": [], "data_qubits": 4} | wrong))
    with pytest.raises(ValueError, match=next(iter(wrong))):
        read_description(path)
