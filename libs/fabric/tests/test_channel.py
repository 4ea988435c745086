"""One long stream per peer: many calls, deadlines, cancels, big bodies, errors, gates, restarts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from qmesh.fabric.v1 import channel_pb2 as pb
from qmesh_fabric import channel as module
from qmesh_fabric.channel import Channel, Channels, frames_of, serve_channel
from qmesh_fabric.errors import ChannelBusy, FabricError, PeerGone, RemoteError
from qmesh_fabric.frames import Framer
from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity
from qmesh_fabric.protocols import GATE

MIB = 1 << 20
NOWHERE: Any = None
"""A host that a test never reaches."""


@asynccontextmanager
async def running(host: Host, peer_id: str, addresses: list[str]) -> AsyncIterator[Channel]:
    """A channel that is kept open."""
    async with trio.open_nursery() as nursery:
        channel = Channel(host, peer_id, addresses, GATE)
        nursery.start_soon(channel.run)
        yield channel
        nursery.cancel_scope.cancel()


class Streams:
    """A handler that counts the streams that it was given."""

    def __init__(self, handler: Callable[[str, Any], Awaitable[None]]) -> None:
        self.opened = 0
        self._handler = handler

    async def __call__(self, peer_id: str, stream: Any) -> None:
        """Counts, then serves."""
        self.opened += 1
        await self._handler(peer_id, stream)


class Service:
    """Answers by the first word of a request, and knows which requests it was asked to stop."""

    def __init__(self) -> None:
        self.canceled: list[bytes] = []
        self.begun = 0
        self.free = trio.Event()

    async def __call__(self, _peer_id: str, request: bytes) -> bytes:
        """Refuses, breaks, waits, answers at length, or answers in reverse."""
        self.begun += 1
        word = request.partition(b" ")[0]
        if word == b"refuse":
            raise FabricError("NOT_FOUND", "nothing of that name")
        if word == b"break":
            raise ZeroDivisionError("the secret")
        if word == b"wait":
            try:
                await self.free.wait()
            except trio.Cancelled:
                self.canceled.append(request)
                raise
        if word == b"big":
            return bytes(5 * MIB)
        return request[::-1]


async def until(condition: Callable[[], object]) -> None:
    """Returns when a condition holds; the caller has the deadline."""
    while not condition():  # noqa: ASYNC110 - what it waits for has no event to tell of it
        await trio.sleep(0.005)


def run(pair: Any, test: Callable[..., Awaitable[None]], max_concurrent: int = 64, **named: Any) -> None:
    """Runs a test with a channel to a service over one stream handler that counts its streams."""

    async def main() -> None:
        with trio.fail_after(30):
            async with pair(**named) as hosts:
                service = Service()
                streams = Streams(serve_channel(service, max_concurrent))
                hosts.server.serve(GATE, streams)
                async with running(hosts.client, hosts.server.peer_id, hosts.addresses) as channel:
                    await test(channel, service, streams)

    trio.run(main)


def test_many_calls_share_one_stream(pair: Any) -> None:
    """A thousand calls, two hundred at a time, each get their own answer over one stream."""

    async def test(channel: Channel, _service: Service, streams: Streams) -> None:
        answers: dict[int, bytes] = {}

        async def call(number: int) -> None:
            answers[number] = await channel.call(f"echo {number}".encode(), 10)

        for batch in range(5):
            async with trio.open_nursery() as nursery:
                for number in range(batch * 200, batch * 200 + 200):
                    nursery.start_soon(call, number)
        assert answers == {number: f"echo {number}".encode()[::-1] for number in range(1000)}
        assert streams.opened == 1

    run(pair, test)


def test_slow_call_times_out_alone(pair: Any) -> None:
    """A handler that takes too long costs its own caller a TimeoutError; the others are answered, on the same stream."""

    async def test(channel: Channel, service: Service, streams: Streams) -> None:
        quick: list[bytes] = []

        async def others() -> None:
            quick.extend([await channel.call(b"echo %d" % number, 5) for number in range(50)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            with pytest.raises(TimeoutError, match=r"did not answer within 0\.2 s"):
                await channel.call(b"wait", 0.2)
        assert len(quick) == 50
        await until(lambda: service.canceled == [b"wait"])
        assert streams.opened == 1

    run(pair, test)


def test_cancelled_caller_stops_the_handler(pair: Any) -> None:
    """Cancelling a caller cancels the handler at the other side and nothing else."""

    async def test(channel: Channel, service: Service, streams: Streams) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.call, b"wait 1", 20)
            await until(lambda: service.begun == 1)
            nursery.cancel_scope.cancel()
        await until(lambda: service.canceled == [b"wait 1"])
        assert await channel.call(b"echo", 5) == b"ohce"
        assert streams.opened == 1

    run(pair, test)


def test_cancel_right_behind_its_request(pair: Any) -> None:
    """A cancel that arrives in one read with its request finds the handler, although that has not begun."""

    async def main() -> None:
        with trio.fail_after(10):
            async with pair() as hosts:
                service = Service()
                hosts.server.serve(GATE, serve_channel(service))
                stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, GATE)
                request = pb.Frame(id=1, payload=b"wait").SerializeToString()
                cancel = pb.Frame(id=1, cancel=True).SerializeToString()
                await stream.write(bytes([len(request)]) + request + bytes([len(cancel)]) + cancel)
                framer = Framer(stream)
                await framer.send(pb.Frame(id=2, payload=b"echo").SerializeToString())
                assert pb.Frame.FromString(await framer.receive()).id == 2
                assert service.begun == 1 or service.canceled == [b"wait"]

    trio.run(main)


def test_cancel_does_not_tear_the_stream(pair: Any) -> None:
    """Cancelling calls while their answers of 5 MiB are on the way leaves whole frames: the stream goes on."""

    async def test(channel: Channel, _service: Service, streams: Streams) -> None:
        for number in range(12):
            with suppress(TimeoutError):
                await channel.call(b"big", 0.01 + 0.01 * number)
        assert await channel.call(b"echo", 10) == b"ohce"
        assert streams.opened == 1
        assert channel._assembly._size == 0

    run(pair, test)


def test_big_bodies(pair: Any) -> None:
    """Five MiB travel both ways, four at once, while small calls are answered in between."""

    async def test(channel: Channel, _service: Service, _streams: Streams) -> None:
        body = bytes(range(256)) * (5 * MIB // 256)
        answers: list[bytes] = []

        async def call() -> None:
            answers.append(await channel.call(body, 20))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(call)
            assert await channel.call(b"echo", 20) == b"ohce"
        assert answers == [body[::-1]] * 4

    run(pair, test)


def test_typed_errors(pair: Any) -> None:
    """A FabricError arrives with its code and sentence; anything else as INTERNAL, without its text."""

    async def test(channel: Channel, _service: Service, streams: Streams) -> None:
        with pytest.raises(RemoteError, match="NOT_FOUND: nothing of that name") as refused:
            await channel.call(b"refuse", 5)
        assert refused.value.code == "NOT_FOUND"
        with pytest.raises(RemoteError) as broken:
            await channel.call(b"break", 5)
        assert broken.value.code == "INTERNAL"
        assert "secret" not in str(broken.value)
        assert streams.opened == 1

    run(pair, test)


def test_overload_is_refused_and_cancels_get_through(pair: Any) -> None:
    """One runs, 256 wait, the next is refused; the reader still hears cancels, so that room comes back."""

    async def test(channel: Channel, service: Service, streams: Streams) -> None:
        refused: list[str] = []

        async def call() -> None:
            try:
                await channel.call(b"wait", 1.0)
            except RemoteError as error:
                refused.append(error.code)
            except TimeoutError:
                return

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                for _ in range(150):
                    nursery.start_soon(call)
                await until(lambda: channel._send.statistics().current_buffer_used == 0 and service.begun > 0)
        assert refused == ["RESOURCE_EXHAUSTED"] * (300 - 257)
        assert await channel.call(b"echo", 5) == b"ohce"
        assert streams.opened == 1

    run(pair, test, max_concurrent=1)


def test_peer_that_is_not_admitted(pair: Any) -> None:
    """A peer that the host's gate does not admit has no connection, and its call fails at once instead of waiting."""

    async def test(channel: Channel, _service: Service, streams: Streams) -> None:
        with pytest.raises(PeerGone):
            await channel.call(b"echo", 10)
        assert not channel.connected
        assert streams.opened == 0

    run(pair, test, admits=lambda _peer: False)


def test_protocol_has_its_own_gate(pair: Any) -> None:
    """A peer that is admitted to the host but not to the protocol is refused there, and served elsewhere."""

    async def main() -> None:
        with trio.fail_after(10):
            async with pair() as hosts:
                streams = Streams(serve_channel(Service()))
                hosts.server.serve(GATE, streams, admits=lambda peer: peer != hosts.client.peer_id)
                hosts.server.serve("/open", serve_channel(Service()))
                async with running(hosts.client, hosts.server.peer_id, hosts.addresses) as channel:
                    with pytest.raises(PeerGone):
                        await channel.call(b"echo", 5)
                assert streams.opened == 0
                async with trio.open_nursery() as nursery:
                    other = Channel(hosts.client, hosts.server.peer_id, hosts.addresses, "/open")
                    nursery.start_soon(other.run)
                    assert await other.call(b"echo", 5) == b"ohce"
                    nursery.cancel_scope.cancel()

    trio.run(main)


def test_reconnects_after_a_restart() -> None:
    """Calls in flight fail when the other side ends, and the same channel works again after it has come back."""

    async def main() -> None:
        identity, client = Identity(b"server".ljust(32)), Identity(b"client".ljust(32))
        listen = "/ip4/127.0.0.1/tcp/0"
        with trio.fail_after(20):
            async with open_host(client, []) as host, open_host(identity, [listen]) as first:
                addresses = first.listen_addrs()
                service = Service()
                first.serve(GATE, serve_channel(service))
                scope = trio.CancelScope()
                async with running(host, first.peer_id, addresses) as channel, trio.open_nursery() as nursery:
                    failed: list[BaseException] = []

                    async def call() -> None:
                        try:
                            await channel.call(b"wait", 15)
                        except PeerGone as error:
                            failed.append(error)

                    async def restart() -> None:
                        await first.leave()
                        await until(lambda: len(failed) == 3)
                        scope.cancel()

                    for _ in range(3):
                        nursery.start_soon(call)
                    await until(lambda: service.begun == 3)
                    nursery.start_soon(restart)
                    with scope:
                        await trio.sleep_forever()
                    with pytest.raises(PeerGone):
                        await channel.call(b"echo", 5)
                    async with open_host(identity, [addresses[0].partition("/p2p/")[0]]) as second:
                        second.serve(GATE, serve_channel(Service()))
                        await until(lambda: channel.connected)
                        assert await channel.call(b"echo", 5) == b"ohce"

    trio.run(main)


def test_answer_that_is_no_frame(pair: Any) -> None:
    """A peer that answers with garbage fails the calls that wait, and the channel opens a new stream."""

    async def main() -> None:
        with trio.fail_after(20):
            async with pair() as hosts:
                good = serve_channel(Service())
                opened: list[str] = []

                async def serve(peer_id: str, stream: Any) -> None:
                    opened.append(peer_id)
                    if len(opened) > 1:
                        return await good(peer_id, stream)
                    await Framer(stream).receive()
                    await stream.write(b"\xff\xff\xff\xff\xff\xff")
                    return None

                hosts.server.serve(GATE, serve)
                async with running(hosts.client, hosts.server.peer_id, hosts.addresses) as channel:
                    with pytest.raises(PeerGone, match="the length does not end"):
                        await channel.call(b"echo", 5)
                    await until(lambda: channel.connected)
                    assert await channel.call(b"echo", 5) == b"ohce"

    trio.run(main)


def test_answers_that_nobody_asked_for(pair: Any) -> None:
    """Frames of unknown calls are dropped without being kept."""

    async def main() -> None:
        with trio.fail_after(20):
            async with pair() as hosts:

                async def serve(_peer_id: str, stream: Any) -> None:
                    framer = Framer(stream)
                    asked = pb.Frame.FromString(await framer.receive())
                    for number in range(1000, 1010):
                        await framer.send(
                            pb.Frame(id=number, payload=bytes(MIB // 2), more=True).SerializeToString()
                        )
                    await framer.send(pb.Frame(id=asked.id, payload=b"good").SerializeToString())
                    await trio.sleep_forever()

                hosts.server.serve(GATE, serve)
                async with running(hosts.client, hosts.server.peer_id, hosts.addresses) as channel:
                    assert await channel.call(b"echo", 10) == b"good"
                    assert channel._assembly._size == 0

    trio.run(main)


def test_unreachable_peer_fails_calls(pair: Any) -> None:
    """Calls to a peer that never answered a dial fail with PeerGone well before their own deadline."""

    async def main() -> None:
        async with pair() as hosts:
            nobody = Identity(b"nobody".ljust(32)).peer_id
            async with running(hosts.client, nobody, ["/ip4/127.0.0.1/tcp/1"]) as channel:
                with trio.fail_after(10), pytest.raises(PeerGone, match=nobody):
                    await channel.call(b"echo", 60)

    trio.run(main)


def test_full_queue_is_said_at_once(pair: Any) -> None:
    """The call that finds 256 others unsent is refused with ChannelBusy, and nothing of it stays."""

    async def main() -> None:
        async with pair() as hosts:
            channel = Channel(hosts.client, hosts.server.peer_id, [], GATE)
            for _ in range(256):
                channel.begin(b"x", lambda *_: None)
            with pytest.raises(ChannelBusy):
                channel.begin(b"x", lambda *_: None)
            assert len(channel._pending) == 256

    trio.run(main)


def test_message_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is above the limit is refused by the sender, and by the receiver even in pieces of several messages."""
    monkeypatch.setattr(module, "MAX_MESSAGE", 100)

    async def main() -> None:
        channel = Channel(NOWHERE, "x", [], GATE)
        with pytest.raises(ValueError, match="101 bytes is above 100"):
            channel.begin(bytes(101), lambda *_: None)

    trio.run(main)
    assembly = module._Assembly()
    assert assembly.take(pb.Frame(id=1, payload=bytes(60), more=True)) is None
    with pytest.raises(FabricError, match="MESSAGE_TOO_LARGE"):
        assembly.take(pb.Frame(id=2, payload=bytes(60), more=True))


def test_frames_join_again() -> None:
    """A message of any size is split and joined without a byte more or less."""
    for size in (0, 1, module.CHUNK, module.CHUNK + 1, 3 * module.CHUNK):
        body = bytes(size)
        assembly = module._Assembly()
        parts = [assembly.take(pb.Frame.FromString(data)) for data in frames_of(7, body)]
        assert parts[-1] == body
        assert parts[:-1] == [None] * (len(parts) - 1)


def test_channels_close_when_idle_but_not_in_use(pair: Any) -> None:
    """A channel that is not used is closed; one with a call that waits is not, however long it takes."""

    async def main() -> None:
        with trio.fail_after(20):
            async with pair() as hosts, trio.open_nursery() as nursery:
                service = Service()
                hosts.server.serve(GATE, serve_channel(service))
                channels = Channels(hosts.client, GATE, idle_seconds=0.1)
                with pytest.raises(PeerGone, match="not running"):
                    channels.get(hosts.server.peer_id, hosts.addresses)
                await nursery.start(channels.run)
                peer = hosts.server.peer_id
                channel = channels.get(peer, hosts.addresses)
                with pytest.raises(TimeoutError):
                    await channel.call(b"wait", 0.5)
                assert channels.get(peer, hosts.addresses) is channel
                assert channels.connected(peer)
                await until(lambda: not channels.connected(peer))
                assert await channels.get(peer, hosts.addresses).call(b"echo", 5) == b"ohce"
                channels.close(peer)
                assert not channels.connected(peer)
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_peer_that_moved(pair: Any) -> None:
    """A call to a peer that came back on another port waits for the dial there, and is not failed by the last one."""

    async def main() -> None:
        with trio.fail_after(20):
            async with pair() as hosts, trio.open_nursery() as nursery:
                channels = Channels(hosts.client, GATE)
                await nursery.start(channels.run)
                peer = hosts.server.peer_id
                with pytest.raises(PeerGone):
                    await channels.get(peer, ["/ip4/127.0.0.1/tcp/1"]).call(b"echo", 5)
                hosts.server.serve(GATE, serve_channel(Service()))
                assert await channels.get(peer, hosts.addresses).call(b"echo", 5) == b"ohce"
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_call_that_fails_asks_for_another_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to a peer that is down fails at once, but the next dial follows now and not after the whole delay."""
    monkeypatch.setattr(module, "_LAST_DELAY", 1000.0)

    async def main() -> None:
        channel = Channel(NOWHERE, "peer", [], GATE)
        with trio.fail_after(20):
            assert await channel._rest(module._FIRST_DELAY) == 2 * module._FIRST_DELAY
            channel._why = "went away"
            with pytest.raises(PeerGone, match="went away"):
                channel.begin(b"echo", lambda *_: None)
            assert await channel._rest(1000.0) == module._FIRST_DELAY

    trio.run(main)


def test_host_tells_when_a_peer_is_gone(pair: Any) -> None:
    """`on_gone` is called once, with the id of the peer whose last connection ended."""

    async def main() -> None:
        with trio.fail_after(10):
            async with pair() as hosts:
                gone: list[str] = []
                hosts.server.on_gone(gone.append)
                await hosts.client.connect(hosts.server.peer_id, hosts.addresses)
                await until(lambda: hosts.server.connected() == [hosts.client.peer_id])
                await hosts.client.disconnect(hosts.server.peer_id)
                await until(lambda: bool(gone))
                assert gone == [hosts.client.peer_id]
                assert hosts.server.statistics()["connected"] == 0

    trio.run(main)
