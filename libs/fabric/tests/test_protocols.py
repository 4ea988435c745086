"""Adverts, enrollment, control and state transfer between two hosts, with honest and other peers."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enrollment
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric import adverts, guard
from qmesh_fabric.adverts import AdvertInbox, problem_of, publish
from qmesh_fabric.chunks import CHUNK
from qmesh_fabric.control import ControlHub, follow
from qmesh_fabric.enroll import enroll, serve_enroll, signed_bytes
from qmesh_fabric.errors import FabricError, PeerGone, RemoteError
from qmesh_fabric.frames import FrameError, Framer
from qmesh_fabric.host import Host
from qmesh_fabric.identity import Identity, is_peer_id, load_or_create, verify
from qmesh_fabric.protocols import ADVERTS, CONTROL, ENROLL, STATE
from qmesh_fabric.state import pull, serve_state


async def until(condition: Callable[[], object]) -> None:
    """Returns when a condition holds; the caller has the deadline."""
    while not condition():  # noqa: ASYNC110 - what it waits for has no event to tell of it
        await trio.sleep(0.005)


def advertisement(peer_id: str, counter: int = 1, **named: Any) -> advert.Advertisement:
    """A modest advertisement."""
    message = advert.Advertisement(
        node_id=peer_id, epoch=1, counter=counter, issued_at=time.time(), readout_fidelity=0.99, **named
    )
    message.services.add(service_type="cnot", fidelity=0.999, qubit_min=2, qubit_max=2)
    return message


def raw_rpc(identity: Identity, data: bytes, /, **replaced: bytes) -> bytes:
    """A pubsub RPC as its author signs it, some fields replaced afterwards."""
    pair = create_new_key_pair(identity.seed)
    message = rpc_pb2.Message(
        from_id=ID.from_pubkey(pair.public_key).to_bytes(), seqno=os.urandom(8), data=data, topicIDs=[ADVERTS]
    )
    message.signature = pair.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    message.key = pair.public_key.serialize()
    for name, value in replaced.items():
        setattr(message, name, value)
    return rpc_pb2.RPC(publish=[message]).SerializeToString()


async def inject(hosts: Any, rpc: bytes) -> None:
    """Sends an RPC from the client, past its own pubsub."""
    stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, "/meshsub/1.1.0")
    await Framer(stream).send(rpc)


async def publish_until_heard(host: Host, message: advert.Advertisement, heard: Callable[[], object]) -> None:
    """Publishes with a rising counter until it is heard: a publisher first has to learn who subscribes."""
    while not heard():
        message.counter += 1
        await publish(host, message)
        with trio.move_on_after(0.1):
            await until(heard)


def test_sink_hears_a_publisher(pair: Any) -> None:
    """A node that subscribes to nothing publishes; the coordinator gets the newest advertisement of that peer."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair(pubsub="sink", client_pubsub="publish") as hosts, trio.open_nursery() as nursery:
                inbox = AdvertInbox(hosts.server, lambda peer: peer == hosts.client.peer_id)
                await nursery.start(inbox.run)
                await hosts.client.connect(hosts.server.peer_id, hosts.addresses)
                message = advertisement(hosts.client.peer_id, name="first")
                await publish_until_heard(hosts.client, message, lambda: inbox._fresh)
                async with aclosing(inbox.batches()) as batches:
                    batch = await anext(batches)
                assert [one.name for one in batch] == ["first"]
                assert batch[0].node_id == hosts.client.peer_id
                assert hosts.client.pubsub.topic_ids == set()
                nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("another node's name", lambda _own, other: advertisement(other).SerializeToString()),
        ("undecodable", lambda _own, _other: b"\xff\xff"),
        ("stale", lambda own, _other: advertisement_of_age(own, 11).SerializeToString()),
        ("stale", lambda own, _other: advertisement_of_age(own, -11).SerializeToString()),
        ("stale", lambda own, _other: advertisement_of_age(own, float("nan")).SerializeToString()),
        ("fraction", lambda own, _other: advertisement_with_fidelity(own, 1.5).SerializeToString()),
        (
            "oversize",
            lambda own, _other: advertisement(own, software="x" * 9000).SerializeToString(),
        ),
    ],
)
def test_bad_advertisement_is_refused(pair: Any, why: str, change: Callable[[str, str], bytes]) -> None:
    """A properly signed message with a forged, stale, oversize or impossible advertisement is counted and dropped."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair(pubsub="sink") as hosts, trio.open_nursery() as nursery:
                inbox = AdvertInbox(hosts.server, lambda _peer: True)
                await nursery.start(inbox.run)
                own, other = hosts.client.peer_id, Identity(b"other".ljust(32)).peer_id
                before = guard.dropped[f"advert: {why}"]
                await inject(hosts, raw_rpc(hosts.client_identity, change(own, other)))
                await until(lambda: guard.dropped[f"advert: {why}"] > before)
                assert not inbox._fresh
                good = advertisement(own, counter=9).SerializeToString()
                await inject(hosts, raw_rpc(hosts.client_identity, good))
                await until(lambda: own in inbox._fresh)
                nursery.cancel_scope.cancel()

    trio.run(main)


def advertisement_of_age(peer_id: str, seconds: float) -> advert.Advertisement:
    """An advertisement made a while ago."""
    message = advertisement(peer_id)
    message.issued_at -= seconds
    return message


def advertisement_with_fidelity(peer_id: str, fidelity: float) -> advert.Advertisement:
    """An advertisement with an offer of some fidelity."""
    message = advertisement(peer_id)
    message.services[0].fidelity = fidelity
    return message


def test_forged_signature_is_refused(pair: Any) -> None:
    """A message whose content was changed after it was signed is dropped, and so is one of an unknown author."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair(pubsub="sink") as hosts, trio.open_nursery() as nursery:
                own = hosts.client.peer_id
                stranger = Identity(b"stranger".ljust(32))
                inbox = AdvertInbox(hosts.server, lambda peer: peer == own)
                await nursery.start(inbox.run)
                signed = advertisement(own, 5, name="signed").SerializeToString()
                forged = advertisement(own, 6, name="forged").SerializeToString()
                await inject(hosts, raw_rpc(hosts.client_identity, signed, data=forged))
                before = guard.dropped["advert: unknown author"]
                unknown = advertisement(stranger.peer_id).SerializeToString()
                await inject(hosts, raw_rpc(stranger, unknown))
                await until(lambda: guard.dropped["advert: unknown author"] > before)
                await inject(hosts, raw_rpc(hosts.client_identity, signed))
                await until(lambda: inbox._fresh)
                assert {peer: one.name for peer, one in inbox._fresh.items()} == {own: "signed"}
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_replay_is_refused_after_pubsub_forgot(pair: Any) -> None:
    """A captured message is dropped also when pubsub does not remember it, and an older counter never replaces a newer."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair(pubsub="sink") as hosts, trio.open_nursery() as nursery:
                inbox = AdvertInbox(hosts.server, lambda _peer: True)
                await nursery.start(inbox.run)
                own = hosts.client.peer_id
                captured = raw_rpc(hosts.client_identity, advertisement(own, 5, name="5").SerializeToString())
                await inject(hosts, captured)
                await until(lambda: own in inbox._fresh)
                before = guard.dropped["advert: replay"]
                hosts.server.pubsub.seen_messages.cache.clear()
                hosts.server.pubsub.validation_cache.cache.clear()
                await inject(hosts, captured)
                await until(lambda: guard.dropped["advert: replay"] == before + 1)
                older = advertisement(own, 4, name="4").SerializeToString()
                await inject(hosts, raw_rpc(hosts.client_identity, older))
                await until(lambda: guard.dropped["advert: replay"] == before + 2)
                assert inbox._fresh[own].name == "5"
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_sink_relays_nothing(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: a coordinator's router passes on its own messages only."""

    async def main() -> None:
        async with pair(pubsub="sink") as hosts:
            passed: list[Any] = []
            router = hosts.server.pubsub.router
            assert isinstance(router, guard.SinkGossipSub)

            def relay(*arguments: Any, **_named: Any) -> list[Any]:
                passed.append(arguments)
                return []

            monkeypatch.setattr(router, "_get_peers_to_send", relay)
            message = rpc_pb2.Message(from_id=b"x", seqno=b"1", data=b"x", topicIDs=[ADVERTS])
            await router.publish(ID.from_string(hosts.client.peer_id), message)
            assert passed == []
            await router.publish(hosts.server.pubsub.my_id, message)
            assert passed

    trio.run(main)


def test_own_advertisement_above_its_size() -> None:
    """A node is told that its advertisement is above 8 KiB before anything is sent."""
    message = advertisement("x", software="x" * adverts.MAX_BYTES)
    with pytest.raises(ValueError, match="is above 8192"):
        trio.run(publish, SimpleNamespace(pubsub=None), message)


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_validator_never_raises(data: bytes, author: bytes) -> None:
    """Whatever bytes come, the validator says no and does not raise."""
    inbox: AdvertInbox = object.__new__(AdvertInbox)
    inbox._knows, inbox._clock, inbox._last, inbox._digests = (lambda _peer: True), time.time, {}, {}
    inbox._objects = lambda _advert: None
    assert inbox.validate(None, SimpleNamespace(data=data, from_id=author)) is False


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("too many entries", {"listen_addrs": ["a"] * 5}),
        ("name", {"name": "x" * 65}),
        ("text", {"name": "a\nb"}),
        ("text", {"software": "\x1b[2J"}),
        ("text", {"executors": ["a\0"]}),
        ("text", {"links": [{"peer_id": "a\u202e"}]}),
        ("address", {"listen_addrs": ["/unix/tmp/socket"]}),
        ("address", {"listen_addrs": ["/ip4/127.0.0.1/udp/1"]}),
        ("address", {"listen_addrs": ["/ip4/127.0.0.1/tcp/1/p2p/another"]}),
        ("address", {"listen_addrs": ["/ip4/127.0.0.1/tcp/1/p2p/x/p2p-circuit"]}),
        ("one link twice", {"links": [{"peer_id": "a"}, {"peer_id": "a"}]}),
        ("one link twice", {"links": [{"peer_id": "x"}]}),
        ("fraction", {"links": [{"pair_fidelity": -0.1}]}),
        ("fraction", {"load": {"busy": float("nan")}}),
        ("amount", {"links": [{"pair_rate_hz": float("inf")}]}),
        ("amount", {"links": [{"rtt_seconds": -1.0}]}),
        ("amount", {"links": [{"rtt_seconds": 1e300}]}),
        ("amount", {"links": [{"measured_at": 1e300}]}),
        ("amount", {"links": [{"measured_at": float("nan")}]}),
        ("amount", {"memory": {"t1_seconds": float("nan")}}),
        ("data qubits", {"capacity": {"data_qubits": 10_001}}),
    ],
)
def test_ranges_of_an_advertisement(what: str, change: dict[str, Any]) -> None:
    """Each number that a node says of itself has a range, and what is outside is named."""
    address = "/ip4/127.0.0.1/tcp/4001/p2p/x"
    links = [{"peer_id": "y", "rtt_seconds": 0.1, "measured_at": time.time()}]
    assert (
        problem_of(advertisement("x", listen_addrs=[address, "/dns4/node-0.nodes/tcp/1"], links=links))
        is None
    )
    assert problem_of(advertisement("x", **change)) == what


def test_one_service_is_offered_once() -> None:
    """A second offer of a service is refused: the plan would depend on which comes first."""
    message = advertisement("x")
    message.services.add(service_type="cnot", fidelity=0.5, qubit_min=1, qubit_max=2)
    assert problem_of(message) == "one service twice"


def test_equivocation_replay_and_objections_are_told_apart() -> None:
    """The same counter with other content is equivocation; what was heard before a restart is still a replay."""
    identity = Identity(b"node".ljust(32))
    author = ID.from_pubkey(create_new_key_pair(identity.seed).public_key).to_bytes()
    host: Any = SimpleNamespace()
    inbox = AdvertInbox(
        host,
        lambda _peer: True,
        objects=lambda message: "unknown service" if message.services[0].service_type == "magic" else None,
        heard={identity.peer_id: (1, 5)},
    )

    def why(counter: int, **named: Any) -> str:
        message = advertisement(identity.peer_id, counter, **named)
        if named.get("name") == "magician":
            message.services[0].service_type = "magic"
        guard.dropped.clear()
        taken = inbox.validate(None, SimpleNamespace(data=message.SerializeToString(), from_id=author))
        return "taken" if taken else next(iter(guard.dropped))

    assert why(5) == "advert: replay"
    assert why(6, name="magician") == "advert: unknown service"
    assert why(6, name="a") == "taken"
    assert why(6, name="b") == "advert: equivocation"
    assert why(5, name="b") == "advert: replay"
    assert why(7) == "taken"


def enroll_with(
    pair: Any, decide: Callable[..., Any], ask: Callable[..., Any] | None = None
) -> enrollment.EnrollResult:
    """One enrollment of the client at the server."""

    async def default(hosts: Any) -> enrollment.EnrollResult:
        hello = enrollment.EnrollHello(peer_id=hosts.client.peer_id, name="node")
        registry = hosts.server.peer_id
        return await enroll(hosts.client, hosts.client_identity, registry, hosts.addresses, hello, "pool")

    async def main() -> enrollment.EnrollResult:
        with trio.fail_after(15):
            async with pair() as hosts:
                hosts.server.serve(ENROLL, serve_enroll(hosts.server, decide))
                try:
                    return await (ask or default)(hosts)
                except (PeerGone, FabricError, AssertionError) as error:
                    return error  # type: ignore[return-value] # what leaves the hosts would be in groups

    result = trio.run(main)
    if isinstance(result, Exception):
        raise result
    return result


async def accept(hello: enrollment.EnrollHello, token: str) -> enrollment.EnrollResult:
    """A registry that knows one token."""
    assert hello.name == "node"
    if token == "pool":  # noqa: S105 - of this test only
        return enrollment.EnrollResult(
            status=enrollment.ENROLLMENT_STATUS_READY, tier=enrollment.TRUST_TIER_PLATFORM_MANAGED
        )
    return enrollment.EnrollResult(
        status=enrollment.ENROLLMENT_STATUS_PENDING_APPROVAL, tier=enrollment.TRUST_TIER_PUBLIC_UNTRUSTED
    )


def test_enrollment_with_key_proof_and_token(pair: Any) -> None:
    """A peer that proves its key and has the pool token gets the registry's decision."""
    result = enroll_with(pair, accept)
    assert result.status == enrollment.ENROLLMENT_STATUS_READY
    assert result.tier == enrollment.TRUST_TIER_PLATFORM_MANAGED


def test_enrollment_without_token(pair: Any) -> None:
    """Without a token the decision is the registry's, too: here to wait for approval."""

    async def ask(hosts: Any) -> enrollment.EnrollResult:
        hello = enrollment.EnrollHello(peer_id=hosts.client.peer_id, name="node")
        registry = hosts.server.peer_id
        return await enroll(hosts.client, hosts.client_identity, registry, hosts.addresses, hello)

    assert enroll_with(pair, accept, ask).status == enrollment.ENROLLMENT_STATUS_PENDING_APPROVAL


def test_enrollment_with_another_key(pair: Any) -> None:
    """A signature by another key never reaches the decision."""
    decided: list[str] = []

    async def decide(hello: enrollment.EnrollHello, _token: str) -> enrollment.EnrollResult:
        decided.append(hello.peer_id)
        return enrollment.EnrollResult()

    async def ask(hosts: Any) -> enrollment.EnrollResult:
        forger = Identity(b"forger".ljust(32))
        forger.peer_id = hosts.client.peer_id
        hello = enrollment.EnrollHello(peer_id=hosts.client.peer_id, name="node")
        return await enroll(hosts.client, forger, hosts.server.peer_id, hosts.addresses, hello, "pool")

    with pytest.raises(PeerGone, match="did not finish the enrollment"):
        enroll_with(pair, decide, ask)
    assert decided == []


def test_enrollment_of_another_peer(pair: Any) -> None:
    """A peer cannot enroll another one than the connection's authenticated peer."""

    async def ask(hosts: Any) -> enrollment.EnrollResult:
        other = Identity(b"other".ljust(32))
        hello = enrollment.EnrollHello(peer_id=other.peer_id, name="node")
        return await enroll(hosts.client, other, hosts.server.peer_id, hosts.addresses, hello, "pool")

    with pytest.raises(PeerGone):
        enroll_with(pair, accept, ask)


def test_enrollment_proof_is_good_once(pair: Any) -> None:
    """A proof that was captured in one enrollment is refused in the next, whose nonce is another."""

    async def ask(hosts: Any) -> enrollment.EnrollResult:
        proofs: list[bytes] = []
        for _ in range(2):
            stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, ENROLL)
            framer = Framer(stream)
            hello = enrollment.EnrollHello(peer_id=hosts.client.peer_id, name="node")
            await framer.send(hello.SerializeToString())
            challenge = enrollment.EnrollChallenge.FromString(await framer.receive())
            assert len(challenge.nonce) == 32
            payload = signed_bytes(challenge.nonce, hosts.client.peer_id, hosts.server.peer_id)
            proofs.append(hosts.client_identity.sign(payload))
            proof = enrollment.EnrollProof(signature=proofs[0], pool_token="pool")  # noqa: S106 - of this test
            await framer.send(proof.SerializeToString())
            try:
                result = enrollment.EnrollResult.FromString(await framer.receive())
            except Exception as error:  # noqa: BLE001 - the library's reset
                assert len(proofs) == 2
                raise PeerGone(repr(error)) from None
            assert result.status == enrollment.ENROLLMENT_STATUS_READY
        return result

    with pytest.raises(PeerGone):
        enroll_with(pair, accept, ask)


def test_enrollment_when_the_decision_fails(pair: Any) -> None:
    """An error in the registry's decision ends this enrollment, not the registry."""
    calls: list[str] = []

    async def decide(hello: enrollment.EnrollHello, token: str) -> enrollment.EnrollResult:
        calls.append(token)
        if len(calls) == 1:
            raise ZeroDivisionError
        return await accept(hello, token)

    async def ask(hosts: Any) -> enrollment.EnrollResult:
        hello = enrollment.EnrollHello(peer_id=hosts.client.peer_id, name="node")
        where = (hosts.server.peer_id, hosts.addresses, hello, "pool")
        with pytest.raises(PeerGone):
            await enroll(hosts.client, hosts.client_identity, *where)
        return await enroll(hosts.client, hosts.client_identity, *where)

    assert enroll_with(pair, decide, ask).status == enrollment.ENROLLMENT_STATUS_READY


class Registry:
    """What a hub told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.reports: list[control.ControlReport] = []
        self.hub = ControlHub(
            lambda peer: self.events.append(("open", peer)),
            lambda _peer, report: self.reports.append(report),
            lambda peer: self.events.append(("close", peer)),
        )


def directory(version: int, peers: Iterable[str]) -> control.ControlCommand:
    """A directory command."""
    nodes = [control.DirectoryEntry(peer_id=peer, addresses=["/ip4/127.0.0.1/tcp/1"]) for peer in peers]
    return control.ControlCommand(directory=control.PeerDirectory(version=version, nodes=nodes))


def test_directory_reaches_a_follower(pair: Any) -> None:
    """A registry's commands arrive in order, the follower's reports too, and both ends notice the end of the stream."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair() as hosts, trio.open_nursery() as nursery:
                registry = Registry()
                node = hosts.client.peer_id
                hosts.server.serve(CONTROL, registry.hub.serve)
                commands: list[control.ControlCommand] = []
                ended: list[BaseException] = []
                send, receive = trio.open_memory_channel[control.ControlReport](4)

                async def obey(command: control.ControlCommand) -> None:
                    commands.append(command)

                async def stay() -> None:
                    try:
                        await follow(hosts.client, hosts.server.peer_id, hosts.addresses, obey, receive)
                    except PeerGone as error:
                        ended.append(error)

                nursery.start_soon(stay)
                await until(lambda: registry.hub.nodes() == [node])
                for version in (1, 2, 3):
                    assert registry.hub.send(node, directory(version, ["a", "b"]))
                await until(lambda: len(commands) == 3)
                assert [one.directory.version for one in commands] == [1, 2, 3]
                assert [entry.peer_id for entry in commands[0].directory.nodes] == ["a", "b"]
                await send.send(control.ControlReport(directory_version=3))
                await until(lambda: len(registry.reports) == 2)
                assert registry.reports[1].directory_version == 3
                await hosts.server.disconnect(node)
                await until(lambda: ended)
                await until(lambda: registry.events == [("open", node), ("close", node)])
                assert "the control stream ended" in str(ended[0])
                assert not registry.hub.send(node, directory(4, []))

    trio.run(main)


def test_new_control_stream_replaces_the_old(pair: Any) -> None:
    """A node that opens a second stream is served there, and the end of its first does not count as its end."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair() as hosts:
                registry = Registry()
                node = hosts.client.peer_id
                hosts.server.serve(CONTROL, registry.hub.serve)
                streams = []

                def reported(count: int) -> bool:
                    return len(registry.reports) == count

                for number in (1, 2):
                    stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, CONTROL)
                    await Framer(stream).send(control.ControlReport().SerializeToString())
                    streams.append(stream)
                    await until(partial(reported, number))
                await streams[0].reset()
                assert registry.hub.send(node, directory(7, []))
                data = await Framer(streams[1]).receive()
                assert control.ControlCommand.FromString(data).directory.version == 7
                assert ("close", node) not in registry.events
                await streams[1].reset()
                await until(lambda: registry.events[-1] == ("close", node))

    trio.run(main)


def test_node_that_does_not_read_is_not_waited_for(pair: Any) -> None:
    """A command to a node that does not read is refused once 64 wait; the registry never blocks."""

    async def main() -> None:
        hub = ControlHub(lambda _p: None, lambda _p, _r: None, lambda _p: None)
        hub._nodes["x"], _receive = trio.open_memory_channel[control.ControlCommand](64)
        assert [hub.send("x", directory(n, [])) for n in range(65)] == [True] * 64 + [False]
        assert hub.send("y", directory(1, [])) is False

    trio.run(main)


def test_report_that_is_no_report(pair: Any) -> None:
    """Garbage on a control stream resets it and counts as the node's end; the next stream is served."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair() as hosts:
                registry = Registry()
                hosts.server.serve(CONTROL, registry.hub.serve)
                stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, CONTROL)
                await Framer(stream).send(b"\xff\xff\xff")
                await until(lambda: ("close", hosts.client.peer_id) in registry.events)
                again = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, CONTROL)
                await Framer(again).send(control.ControlReport().SerializeToString())
                await until(lambda: registry.reports)

    trio.run(main)


class Holder:
    """Holds one version and grants it to who has the token."""

    def __init__(self, size: int, peer_id: str) -> None:
        generator = np.random.default_rng(5)
        self.rows = generator.random((4, size // 64)).astype(np.complex128)
        self.row_of_shot = np.arange(16, dtype="<u4")
        self.content = self.rows.tobytes() + self.row_of_shot.tobytes()
        self.asked: list[state.PullRequest] = []
        self.ref = state.ComponentRef(
            id=state.ComponentId(job_id="job", component=1),
            digest=hashlib.sha256(self.content).digest(),
            holder=peer_id,
            bytes=len(self.content),
            rows=4,
        )

    def open(
        self, _peer_id: str, request: state.PullRequest
    ) -> tuple[state.ComponentRef, Sequence[memoryview]]:
        """Grants or refuses."""
        self.asked.append(request)
        if request.reservation_token != b"token":
            raise FabricError("REJECTED", "the token is not good")
        if request.id.job_id != "job":
            raise FabricError("NOT_FOUND", "this version is not here")
        return self.ref, [self.rows.data, self.row_of_shot.data]


def pull_from(
    pair: Any,
    size: int = 3 << 20,
    handler: Callable[[Holder], Any] | None = None,
    change: Callable[[state.ComponentRef], None] = lambda _ref: None,
    **named: Any,
) -> tuple[Holder, Any]:
    """One pull by the client from the server; a refusal is returned, not raised."""

    async def main() -> tuple[Holder, Any]:
        with trio.fail_after(20):
            async with pair() as hosts:
                holder = Holder(size, hosts.server.peer_id)
                hosts.server.serve(STATE, handler(holder) if handler else serve_state(holder.open))
                ref = state.ComponentRef()
                ref.CopyFrom(holder.ref)
                change(ref)
                try:
                    return holder, await pull(
                        hosts.client, ref, hosts.addresses, **({"token": b"token"} | named)
                    )
                except (RemoteError, PeerGone) as error:
                    return holder, error

    return trio.run(main)


def test_state_arrives_whole(pair: Any) -> None:
    """A version of several chunks arrives byte for byte with its reference and the size of its rows."""
    holder, (ref, data, rows_bytes) = pull_from(pair)
    assert bytes(data) == holder.content
    assert rows_bytes == holder.rows.nbytes
    assert ref == holder.ref
    assert len(holder.asked) == 1
    assert len(data) > 8 * CHUNK


def test_state_chunks_are_bounded(pair: Any) -> None:
    """No chunk is above 256 KiB, and chunks come in order from the offset that was asked for."""

    async def main() -> None:
        with trio.fail_after(15):
            async with pair() as hosts:
                holder = Holder(1 << 20, hosts.server.peer_id)
                hosts.server.serve(STATE, serve_state(holder.open))
                stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, STATE)
                framer = Framer(stream)
                asked = state.PullRequest(id=holder.ref.id, offset=100, reservation_token=b"token")
                await framer.send(asked.SerializeToString())
                header = state.PullHeader.FromString(await framer.receive())
                at, whole = 100, bytearray()
                while at < header.total_bytes:
                    chunk = state.StateChunk.FromString(await framer.receive())
                    assert (chunk.offset, len(chunk.data) <= 256 << 10) == (at, True)
                    whole += chunk.data
                    at += len(chunk.data)
                assert bytes(whole) == holder.content[100:]

    trio.run(main)


def test_state_is_refused_without_the_token(pair: Any) -> None:
    """A wrong token is a typed refusal, which is not tried again."""
    holder, error = pull_from(pair, token=b"wrong")
    assert isinstance(error, RemoteError)
    assert error.code == "REJECTED"
    assert len(holder.asked) == 1


def test_state_that_is_not_here(pair: Any) -> None:
    """A version that the holder does not have is a typed refusal."""
    _, error = pull_from(pair, change=lambda ref: setattr(ref.id, "job_id", "other"))
    assert error.code == "NOT_FOUND"


def test_state_with_another_digest(pair: Any) -> None:
    """What arrives is checked against the digest that was asked for, whatever the holder says of it."""
    _, error = pull_from(pair, change=lambda ref: setattr(ref, "digest", hashlib.sha256(b"x").digest()))
    assert isinstance(error, RemoteError)
    assert error.code == "DIGEST_MISMATCH"


def test_state_above_the_limit(pair: Any) -> None:
    """A version above the puller's limit is refused before memory is taken for it."""
    _, error = pull_from(pair, limit=1000)
    assert error.code == "RESOURCE_EXHAUSTED"


def test_state_is_resumed(pair: Any) -> None:
    """A stream that breaks half-way is resumed at the byte that is missing."""

    def breaks_once(holder: Holder) -> Any:
        good = serve_state(holder.open)

        class Torn:
            """A stream that is reset after some writes."""

            def __init__(self, stream: Any) -> None:
                self.stream, self.left = stream, 5

            def __getattr__(self, name: str) -> Any:
                return getattr(self.stream, name)

            async def write(self, data: bytes) -> None:
                """Writes, five times."""
                self.left -= 1
                if not self.left:
                    await self.stream.close()
                    raise EOFError
                await self.stream.write(data)

        async def serve(peer_id: str, stream: Any) -> None:
            await good(peer_id, Torn(stream) if not holder.asked else stream)

        return serve

    holder, (_, data, _) = pull_from(pair, handler=breaks_once)
    assert bytes(data) == holder.content
    assert [request.offset > 0 for request in holder.asked] == [False, True]


@pytest.mark.parametrize(
    ("code", "header", "chunks"),
    [
        ("CHUNK_OUT_OF_PLACE", {"total_bytes": 10}, [{"offset": 5, "data": b"12345"}]),
        ("CHUNK_OUT_OF_PLACE", {"total_bytes": 4}, [{"offset": 0, "data": b"12345"}]),
        ("CHUNK_OUT_OF_PLACE", {"total_bytes": 4}, [{"offset": 0, "data": b""}]),
        ("INVALID_ANSWER", {"total_bytes": 4, "rows_bytes": 5}, []),
    ],
)
def test_state_from_a_dishonest_holder(
    pair: Any, code: str, header: dict[str, Any], chunks: list[dict[str, Any]]
) -> None:
    """Chunks that are out of place, too long or empty, and rows above the whole, end the pull with a typed error."""

    def lies(_holder: Holder) -> Any:
        async def serve(_peer_id: str, stream: Any) -> None:
            framer = Framer(stream)
            await framer.receive()
            await framer.send(state.PullHeader(**header).SerializeToString())
            for chunk in chunks:
                await framer.send(state.StateChunk(**chunk).SerializeToString())

        return serve

    _, error = pull_from(pair, handler=lies)
    assert isinstance(error, RemoteError)
    assert error.code == code


def test_state_with_an_empty_part(pair: Any) -> None:
    """A part of no bytes, whose memory cannot even be cast, is simply skipped."""

    def of_nothing(holder: Holder) -> Any:
        holder.row_of_shot = np.zeros(0, dtype="<u4")
        holder.content = holder.rows.tobytes()
        holder.ref.digest = hashlib.sha256(holder.content).digest()
        return serve_state(holder.open)

    holder, (_, data, _) = pull_from(pair, size=4096, handler=of_nothing)
    assert bytes(data) == holder.content


def test_peer_ids_are_the_librarys() -> None:
    """The peer id that is made without the library is the one that the library makes of the same seed."""
    for number in range(20):
        seed = hashlib.sha256(bytes([number])).digest()
        assert Identity(seed).peer_id == str(ID.from_pubkey(create_new_key_pair(seed).public_key))


def test_signatures_are_bound_to_ids() -> None:
    """A signature is good for its own peer and payload only; other texts are no peers."""
    one, two = Identity(b"1" * 32), Identity(b"2" * 32)
    signature = one.sign(b"payload")
    assert verify(one.peer_id, b"payload", signature)
    assert not verify(two.peer_id, b"payload", signature)
    assert not verify(one.peer_id, b"other", signature)
    assert not verify(one.peer_id, b"payload", b"short")
    assert is_peer_id(one.peer_id)
    for text in ("", "x", "12D3KooW", "1" * 10_000, one.peer_id + "1", "0OIl"):
        assert not is_peer_id(text)


def test_identity_file(tmp_path: Any) -> None:
    """A key is made once, for its owner only, and read again; a file with something else is refused by its name."""
    path = tmp_path / "keys" / "node.key"
    made = load_or_create(path)
    assert load_or_create(path).peer_id == made.peer_id
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("something else")
    with pytest.raises(ValueError, match=r"node\.key is no identity"):
        load_or_create(path)
    with pytest.raises(ValueError, match="a seed has 32 bytes, not 5"):
        Identity(b"short")


class Pipe:
    """A stream that gives its bytes in pieces and keeps what is written."""

    def __init__(self, data: bytes, piece: int) -> None:
        self.data, self.piece, self.written = data, piece, bytearray()

    async def read(self, _size: int) -> bytes:
        """The next piece."""
        head, self.data = self.data[: self.piece], self.data[self.piece :]
        return head

    async def write(self, data: bytes) -> None:
        """Keeps the bytes."""
        self.written += data


@given(st.lists(st.binary(max_size=400), max_size=5), st.integers(min_value=1, max_value=50))
def test_frames_survive_any_split(payloads: list[bytes], piece: int) -> None:
    """Whatever pieces the stream delivers, the frames that were sent are received."""

    async def main() -> None:
        out = Pipe(b"", 1)
        for payload in payloads:
            await Framer(out).send(payload)
        framer = Framer(Pipe(bytes(out.written), piece))
        assert [await framer.receive() for _ in payloads] == payloads
        with pytest.raises(EOFError):
            await framer.receive()

    trio.run(main)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
def test_frame_above_its_limit(data: bytes) -> None:
    """A length that does not end, or is above the limit, is an error before anything is kept."""

    async def main() -> None:
        with pytest.raises(FrameError):
            await Framer(Pipe(data, 100), limit=1000).receive()

    trio.run(main)
