"""Each way in which the library is known to die: first that it does, then that a guarded host does not."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import Ed25519PrivateKey, create_new_key_pair
from libp2p.crypto.keys import KeyPair, PublicKey
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from qmesh_fabric import guard
from qmesh_fabric import host as fabric
from qmesh_fabric.errors import GuardError, ListenError, PeerGone
from qmesh_fabric.frames import Framer
from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
MESHSUB = "/meshsub/1.1.0"
Strike = Callable[[Host, Any], Awaitable[None]]


def fresh() -> Identity:
    """A key that nobody has seen."""
    return Identity(os.urandom(32))


async def ask(host: Host, victim: Any, protocol: str, payload: bytes | None = None) -> bytes:
    """One frame from a victim, after one to it where there is a payload."""
    with trio.fail_after(5):
        stream = await host.open_stream(victim.peer_id, [victim.address], protocol)
        framer = Framer(stream)
        if payload is not None:
            await framer.send(payload)
        answer = await framer.receive()
        await stream.reset()
        return answer


async def honest_call(victim: Any) -> bool:
    """Whether a peer that does nothing wrong is answered."""
    async with open_host(fresh(), []) as host:
        return await ask(host, victim, "/echo", b"hello") == b"hello"


async def answered(victim: Any) -> bool:
    """The same, where no answer is no surprise."""
    good = False
    try:
        good = await honest_call(victim)
    except* (PeerGone, EOFError, trio.TooSlowError):
        good = False
    return good


def hit(strike: Strike, victim: Any) -> None:
    """Runs a strike from a fresh peer; what becomes of that peer's own connection does not matter."""

    async def main() -> None:
        async with open_host(fresh(), []) as host:
            with trio.fail_after(10):
                await host.connect(victim.peer_id, [victim.address])
                with suppress(PeerGone):
                    await strike(host, victim)

    trio.run(main)


def dies_and_survives(strike: Strike, bare: Any, guarded: Any) -> None:
    """The strike ends the bare process; the guarded one answers an honest call after two of them."""
    assert trio.run(honest_call, bare)
    hit(strike, bare)
    assert bare.ends(), "the unguarded library survived: the guard may be dropped"
    for _ in range(2):
        hit(strike, guarded)
    assert trio.run(honest_call, guarded)


async def burden_of(victim: Any, enough: Callable[[int, int, int], bool]) -> tuple[int, int, int]:
    """What the most laden connection of a victim costs it, once it is enough: streams, unread bytes, refused streams."""
    async with open_host(fresh(), []) as host:
        with trio.fail_after(10):
            while True:
                streams, unread, refused = json.loads(await ask(host, victim, "/burden"))
                if enough(streams, unread, refused):
                    return streams, unread, refused


def muxed_of(host: Host, victim: Any) -> Any:
    """The Yamux connection to a victim."""
    return host.inner.get_network().get_connections(ID.from_string(victim.peer_id))[0].muxed_conn


def varint(size: int) -> bytes:
    """A length as the library's frames have it."""
    head = bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([*head, size])


def signed(data: bytes, **replaced: bytes) -> bytes:
    """A pubsub RPC with one properly signed message, some fields of it replaced afterwards."""
    pair = create_new_key_pair(os.urandom(32))
    author = ID.from_pubkey(pair.public_key).to_bytes()
    message = rpc_pb2.Message(from_id=author, seqno=os.urandom(8), data=data, topicIDs=["topic"])
    message.signature = pair.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    message.key = pair.public_key.serialize()
    for name, value in replaced.items():
        setattr(message, name, value)
    return rpc_pb2.RPC(publish=[message]).SerializeToString()


async def send_rpc(host: Host, victim: Any, rpc: bytes) -> None:
    """Writes bytes as one RPC, and waits until the victim has had time to read them."""
    stream = await host.open_stream(victim.peer_id, [], MESHSUB)
    await stream.write(varint(len(rpc)) + rpc)
    with suppress(PeerGone, EOFError, trio.TooSlowError):
        await ask(host, victim, "/echo", b"read")


def test_protocol_name_that_is_not_text(bare: Any, guarded: Any) -> None:
    """G1: one byte that is not UTF-8 in the negotiation of a stream ends the bare process, not the guarded one."""

    async def strike(host: Host, victim: Any) -> None:
        stream = await muxed_of(host, victim).open_stream()
        await stream.write(b"\x13/multistream/1.0.0\n" + b"\x03\xff\xfe\n")
        with suppress(Exception):
            await ask(host, victim, "/echo", b"read")

    dies_and_survives(strike, bare, guarded)


def test_malformed_pubsub_rpc(bare: Any, guarded: Any) -> None:
    """G1: one pubsub RPC that is no protobuf ends the bare process, not the guarded one."""

    async def strike(host: Host, victim: Any) -> None:
        with suppress(Exception):
            await send_rpc(host, victim, b"\x0a\xff\xff\xff")

    dies_and_survives(strike, bare, guarded)


def test_undecodable_key_in_a_message(bare: Any, guarded: Any) -> None:
    """G1: one pubsub message whose key cannot be decoded ends the bare process, not the guarded one."""

    async def strike(host: Host, victim: Any) -> None:
        with suppress(Exception):
            await send_rpc(
                host, victim, signed(b"x", key=b"\xff\xff\xff", from_id=b"\x12\x20" + os.urandom(32))
            )

    dies_and_survives(strike, bare, guarded)


def test_raising_validator(bare: Any, guarded: Any) -> None:
    """G1: an exception in a topic validator ends the bare process, not the guarded one."""

    async def strike(host: Host, victim: Any) -> None:
        with suppress(Exception):
            await send_rpc(host, victim, signed(b"raise"))

    dies_and_survives(strike, bare, guarded)


def test_raising_handler(bare: Any, guarded: Any) -> None:
    """G1: an exception in a stream handler ends the bare process, not the guarded one."""

    async def strike(host: Host, victim: Any) -> None:
        with suppress(Exception):
            await ask(host, victim, "/fail")

    dies_and_survives(strike, bare, guarded)


def test_plaintext_is_refused(bare: Any, guarded: Any) -> None:
    """G2: without encryption the bare host believes any peer id; the guarded one does not finish the handshake."""
    owner = create_new_key_pair(os.urandom(32))
    forger = create_new_key_pair(os.urandom(32))

    class Claimed(type(forger.private_key)):  # type: ignore[misc] # the class is found at run time
        """A private key that shows another key's public half."""

        def get_public_key(self) -> PublicKey:
            return owner.public_key

    pair = KeyPair(Claimed(cast("Ed25519PrivateKey", forger.private_key).impl), owner.public_key)

    async def claim(victim: Any) -> str:
        host = new_host(key_pair=pair, sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(pair)})
        async with host.run([]):
            peer = ID.from_string(victim.peer_id)
            with trio.fail_after(5):
                await host.connect(PeerInfo(peer, [Multiaddr(victim.address)]))
                stream = await host.new_stream(peer, [TProtocol("/whoami")])
                return (await Framer(stream).receive()).decode()

    assert trio.run(claim, bare) == str(ID.from_pubkey(owner.public_key))
    with pytest.raises(BaseException) as refusal:  # noqa: PT011 - the library raises many kinds for one fact
        trio.run(claim, guarded)
    assert "secur" in repr(refusal.value).lower() or "dial" in repr(refusal.value).lower()
    assert trio.run(honest_call, guarded)


def test_inbound_slots_are_given_back(victim: Callable[..., Any]) -> None:
    """G3: a bare host for three connections takes three in its lifetime; a guarded one seven, one after the other."""

    async def come_and_go(target: Any, times: int) -> int:
        served = 0
        while served < times and await answered(target):
            served += 1
        return served

    assert trio.run(come_and_go, victim("bare", 3), 4) <= 3
    assert trio.run(come_and_go, victim("guarded", 3), 7) == 7


def test_receive_window_is_a_limit(bare: Any, guarded: Any) -> None:
    """G8: a bare host keeps 24 MiB that nobody reads for a peer that ignores its window; a guarded one below 6 MiB."""

    async def overrun(victim: Any) -> int:
        async with open_host(fresh(), []) as host:
            stream = await host.open_stream(victim.peer_id, [victim.address], "/park")
            stream.muxed_stream.send_window = 1 << 30
            with suppress(Exception):
                for _ in range(24):
                    await stream.write(bytes(1 << 20))
            with suppress(Exception):
                await ask(host, victim, "/echo", b"all of it was read")
            return (await burden_of(victim, lambda *_: True))[1]

    assert trio.run(overrun, bare) > 20 << 20
    assert trio.run(overrun, guarded) < 6 << 20
    assert trio.run(honest_call, guarded)


def test_streams_of_a_connection_are_limited(bare: Any, guarded: Any) -> None:
    """G8: a bare host holds 400 streams of one connection, a guarded one at most 256 and those it refuses next."""

    async def open_many(victim: Any) -> int:
        async with open_host(fresh(), []) as host:
            await host.connect(victim.peer_id, [victim.address])
            muxed = muxed_of(host, victim)
            muxed.stream_backlog_semaphore = trio.Semaphore(10_000)
            for _ in range(400):
                await muxed.open_stream()
            streams, _, _ = await burden_of(victim, lambda open_, _, refused: open_ + refused >= 400)
            return streams

    assert trio.run(open_many, bare) >= 400
    assert trio.run(open_many, guarded) <= 258
    assert trio.run(honest_call, guarded)


Scenario = Callable[[str], tuple[Any, Any]]


def test_cancelled_write_keeps_the_connection(scenario: Scenario) -> None:
    """G4: a bare connection is dead after one write that was cancelled half-way; a guarded one answers the next call."""
    assert scenario("cancelled_write") == (False, True)


def test_cancelled_open_keeps_its_slot(scenario: Scenario) -> None:
    """G4: after as many cancelled openings as it has slots a bare connection opens no stream any more; a guarded one has its slots."""
    bare, (slots, answered_then) = scenario("cancelled_open")
    assert bare == [0, False]
    assert slots >= 32
    assert answered_then


def test_dial_does_not_wait(scenario: Scenario) -> None:
    """G5: the fastest of three bare dials takes 250 ms, the guarded one waits for nothing."""
    bare, guarded = scenario("dial")
    assert bare >= 0.25
    assert guarded < 0.2


def test_failed_dial_is_forgiven(scenario: Scenario) -> None:
    """G6: a bare host refuses for a minute to dial a peer that was down once; a guarded one dials and is answered."""
    assert scenario("failed_dial") == (False, True)


def test_busy_subscriber_loses_nothing(scenario: Scenario) -> None:
    """G9: of 200 messages in one burst a bare subscription keeps 32, a guarded one all."""
    assert scenario("burst") == (32, 200)


def test_port_is_not_shared(scenario: Scenario) -> None:
    """G11: two bare hosts share a port silently; the second guarded host is told that it is taken."""
    bare, guarded = scenario("shared_port")
    assert bare == "shared"
    assert "another process has this port" in guarded


def test_moved_peer_is_found(scenario: Scenario) -> None:
    """G18: a bare host dials a peer that moved at its old port only; a guarded one at the address it is given."""
    assert scenario("moved_peer") == (False, True)


def test_every_address_is_tried(guarded: Any) -> None:
    """G18: a peer is reached at the second of its addresses when nobody listens at the first."""

    async def main() -> None:
        async with open_host(fresh(), []) as host:
            with trio.fail_after(10):
                await host.connect(guarded.peer_id, ["/ip4/127.0.0.1/tcp/1", guarded.address])
            assert host.connected() == [guarded.peer_id]
            with pytest.raises(PeerGone, match="none of its addresses"):
                await host.connect(fresh().peer_id, ["/dns4/nowhere.invalid/tcp/1"])
            assert host._dialling == {}

    trio.run(main)


def test_frozen_peer_is_noticed(scenario: Scenario) -> None:
    """G13: a peer whose process is stopped stays connected to a bare host; the health check of a guarded one ends it."""
    assert scenario("frozen_peer") == (False, True)


def test_listener_ends_with_its_host(scenario: Scenario) -> None:
    """G17: the port of a bare host takes connections after it has left; that of a guarded one is free for the next."""
    assert scenario("left_host") == (True, False)

    async def main() -> None:
        async with open_host(fresh(), [ANYWHERE]) as first:
            listen = first.listen_addrs()[0].partition("/p2p/")[0]
            with pytest.raises(ListenError, match="another process has this port"):
                async with open_host(fresh(), [listen]):
                    pass
        async with open_host(fresh(), [listen]) as second:
            assert second.listen_addrs()[0].startswith(listen)

    trio.run(main)


@pytest.mark.parametrize(
    "address", ["/ip4/127.0.0.1/udp/1", "127.0.0.1:1", "/ip4/127.0.0.1/tcp/65536", "/ip4/127.0.0.1/tcp/x", ""]
)
def test_address_that_cannot_be_meant(address: str) -> None:
    """An address that is no TCP multiaddress is refused with an example of one."""

    async def main() -> None:
        async with open_host(fresh(), [address]):
            pass

    with pytest.raises(ListenError, match="should be like /ip4/127"):
        trio.run(main)


def test_names_are_resolved_with_the_hosts_file() -> None:
    """G16: `/dns4/localhost` becomes an address that can be dialled; an unknown name becomes none; others stay."""
    assert trio.run(fabric.resolve, "/dns4/localhost/tcp/1/p2p/x") == ["/ip4/127.0.0.1/tcp/1/p2p/x"]
    assert trio.run(fabric.resolve, "/dns4/nowhere.invalid/tcp/1") == []
    assert trio.run(fabric.resolve, "/ip4/10.0.0.1/tcp/1") == ["/ip4/10.0.0.1/tcp/1"]


def imported_without(deletion: str) -> str:
    """What the import of the guard says when the library lacks something."""
    script = f"{deletion}\nimport qmesh_fabric.guard"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("libp2p.stream_muxer.yamux.yamux", "Yamux._write_frame"),
        ("libp2p.network.swarm", "_NegativePeerCache"),
        ("libp2p.transport.tcp.tcp", "_open_reuseport_listeners"),
    ],
)
def test_missing_name_fails_the_import(module: str, path: str) -> None:
    """A wrapped name that disappeared upstream fails at import, and the message names it and the pin."""
    owner, _, name = path.rpartition(".")
    said = imported_without(f"import {module} as m; del m.{owner}{'.' if owner else ''}{name}")
    assert said.startswith("qmesh_fabric.errors.GuardError: libp2p lacks ")
    assert f"{module}.{path}" in said
    assert "pin libp2p==0.8.1" in said


def test_other_version_is_refused() -> None:
    """A library of another version is refused, whatever names it has."""
    with pytest.raises(GuardError, match=r"for libp2p 0\.8\.1, 0\.9\.0 is installed"):
        guard.check(found="0.9.0")


def test_log_is_not_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of event is counted every time but logged at most once a second."""
    lines: list[str] = []
    monkeypatch.setattr(guard.log, "warning", lambda *_, **named: lines.append(named["event_kind"]))
    before = guard.dropped["test"]
    for _ in range(50):
        guard._note("test", ValueError("x"))
    assert guard.dropped["test"] == before + 50
    assert lines == ["test"]
