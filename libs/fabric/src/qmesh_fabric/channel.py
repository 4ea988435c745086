"""One long-lived multiplexed stream per peer: requests and answers of any size, side by side, with deadlines.

Callers never touch the stream, so cancelling them is harmless. Small calls are one frame and one write each way.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import channel_pb2 as pb
from qmesh_fabric.errors import ChannelBusy, FabricError, PeerGone, RemoteError, first_of
from qmesh_fabric.frames import Framer, end_stream
from qmesh_fabric.host import Host

log = structlog.get_logger()

CHUNK = 1 << 19
MAX_MESSAGE = 64 << 20
_QUEUE = 256
_WAITING = 256
_FIRST_DELAY, _LAST_DELAY = 0.1, 2.0

Answer = Callable[[bytes | None, BaseException | None], None]
Serve = Callable[[str, bytes], Awaitable[bytes]]


def frames_of(number: int, payload: bytes) -> list[bytes]:
    """The frames of one message."""
    if len(payload) <= CHUNK:
        return [pb.Frame(id=number, payload=payload).SerializeToString()]
    pieces = range(0, len(payload), CHUNK)
    return [
        pb.Frame(
            id=number, payload=payload[at : at + CHUNK], more=at + CHUNK < len(payload)
        ).SerializeToString()
        for at in pieces
    ]


class _Assembly:
    """Joins the frames of messages; an honest peer sends one message after the other."""

    def __init__(self) -> None:
        self._parts: dict[int, bytearray] = {}
        self._size = 0

    def take(self, frame: pb.Frame) -> bytes | None:
        """The whole message when this frame ends it.

        Raises:
            FabricError: what has begun is above 64 MiB together.
        """
        if not frame.more and frame.id not in self._parts:
            return frame.payload
        part = self._parts.setdefault(frame.id, bytearray())
        part += frame.payload
        self._size += len(frame.payload)
        if self._size > MAX_MESSAGE or len(self._parts) > _QUEUE:
            raise FabricError("MESSAGE_TOO_LARGE", f"a message is above {MAX_MESSAGE} bytes")
        if frame.more:
            return None
        self.drop(frame.id)
        return bytes(part)

    def drop(self, number: int) -> None:
        self._size -= len(self._parts.pop(number, b""))


class Channel:
    """Client side of one stream; reconnects by itself."""

    def __init__(self, host: Host, peer_id: str, addresses: Sequence[str], protocol: str) -> None:
        """Takes the peer; `run` keeps the stream open."""
        self._host = host
        self.peer_id = peer_id
        self.addresses = list(addresses)
        self._protocol = protocol
        self._pending: dict[int, Answer] = {}
        self._numbers = itertools.count(1)
        self._send, self._take = trio.open_memory_channel[tuple[int, list[bytes]]](_QUEUE)
        self._assembly = _Assembly()
        self._up = False
        self._why: str | None = None
        self._wanted = trio.Event()
        self.last_used = trio.current_time()

    @property
    def connected(self) -> bool:
        """Whether the stream is open now."""
        return self._up

    @property
    def idle_since(self) -> float:
        """When it was used last, in trio's time; now, while a call waits."""
        return trio.current_time() if self._pending else self.last_used

    async def run(self) -> None:
        """Keeps the stream open until it is cancelled; a peer that cannot be reached fails the calls that wait."""
        delay = _FIRST_DELAY
        while True:
            stream: Any = None
            why = "was closed"
            try:
                stream = await self._host.open_stream(self.peer_id, self.addresses, self._protocol)
                delay = _FIRST_DELAY
                self._up, self._why = True, None
                why = await self._work(stream)
            except PeerGone as error:
                why = str(error)
            finally:
                self._up, self._why = False, why
                self._fail_all()
                if stream is not None:
                    await end_stream(stream)
            delay = await self._rest(delay)

    async def _rest(self, delay: float) -> float:
        """Waits before the next attempt, not much when somebody wants one; returns what to wait after that."""
        await trio.sleep(_FIRST_DELAY)
        with trio.move_on_after(delay - _FIRST_DELAY):
            await self._wanted.wait()
        wanted, self._wanted = self._wanted, trio.Event()
        return _FIRST_DELAY if wanted.is_set() else min(delay * 2, _LAST_DELAY)

    def move(self, addresses: Sequence[str]) -> None:
        """The peer listens elsewhere now: what failed before says nothing any more."""
        self.addresses = list(addresses)
        if not self._up:
            self._why = None
            self._wanted.set()

    async def _work(self, stream: Any) -> str:
        """Writes and reads until the stream ends; says why it did."""
        framer = Framer(stream)
        why = ""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, framer)
                await self._read(framer)
        except* Exception as several:  # noqa: BLE001 - the library raises many kinds for one fact
            why = f"ended: {first_of(several)!r}"[
                :200
            ]  # raised here, beside a cancel, it would be wrapped in a group
        return why

    def _gone(self) -> PeerGone:
        """A new one for each caller: an exception that is raised twice keeps both tracebacks."""
        return PeerGone(f"the stream to {self.peer_id}: {self._why}")

    def _fail_all(self) -> None:
        pending, self._pending = self._pending, {}
        for answer in pending.values():
            answer(None, self._gone())

    async def _write(self, framer: Framer) -> None:
        async for number, frames in self._take:
            if number and number not in self._pending:
                continue  # its caller does not wait any more
            for frame in frames:
                await framer.send(frame)

    async def _read(self, framer: Framer) -> None:
        self._assembly = _Assembly()
        while True:
            frame = pb.Frame.FromString(await framer.receive())
            if frame.id not in self._pending:
                continue  # nobody waits any more, or nobody asked
            if frame.HasField("error"):
                self._assembly.drop(frame.id)
                self._pending.pop(frame.id)(None, RemoteError(frame.error.code, frame.error.message))
                continue
            message = self._assembly.take(frame)
            if message is not None:
                self._pending.pop(frame.id)(message, None)

    def begin(self, payload: bytes, answer: Answer) -> int:
        """Sends a request; `answer` is called once, with bytes or an error.

        Raises:
            ValueError: the request is above 64 MiB.
            ChannelBusy: too many calls wait.
            PeerGone: the last attempt to reach the peer failed.
        """
        if len(payload) > MAX_MESSAGE:
            raise ValueError(f"a request of {len(payload)} bytes is above {MAX_MESSAGE}")
        if self._why is not None:
            self._wanted.set()
            raise self._gone()
        self.last_used = trio.current_time()
        number = next(self._numbers)
        self._pending[number] = answer
        try:
            self._send.send_nowait((number, frames_of(number, payload)))
        except trio.WouldBlock:
            del self._pending[number]
            raise ChannelBusy(f"{_QUEUE} calls wait for {self.peer_id}") from None
        return number

    def forget(self, number: int) -> None:
        """The caller does not want the answer any more."""
        if self._pending.pop(number, None) is not None:
            self._assembly.drop(number)
            try:
                self._send.send_nowait((0, [pb.Frame(id=number, cancel=True).SerializeToString()]))
            except trio.WouldBlock:
                return

    async def call(self, payload: bytes, timeout_seconds: float) -> bytes:
        """One request and its answer.

        Raises:
            PeerGone, RemoteError, ChannelBusy, TimeoutError: no good answer.
        """
        done = trio.Event()
        result: list[tuple[bytes | None, BaseException | None]] = []

        def answer(message: bytes | None, error: BaseException | None) -> None:
            result.append((message, error))
            done.set()

        number = self.begin(payload, answer)
        try:
            with trio.fail_after(timeout_seconds):
                await done.wait()
        except trio.TooSlowError:
            raise TimeoutError(f"{self.peer_id} did not answer within {timeout_seconds:g} s") from None
        finally:
            self.forget(number)
        message, error = result[0]
        if error is not None:
            raise error
        return message or b""


class Channels:
    """Channels by peer, opened on demand, closed when idle or when the peer moved."""

    def __init__(self, host: Host, protocol: str, idle_seconds: float = 300.0) -> None:
        """Takes the host and the protocol of all channels."""
        self._host = host
        self._protocol = protocol
        self._idle = idle_seconds
        self._open: dict[str, tuple[Channel, trio.CancelScope]] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the channels until it is cancelled; start it with `nursery.start`."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    await trio.sleep(self._idle / 4)
                    late = trio.current_time() - self._idle
                    for peer, (channel, _) in list(self._open.items()):
                        if channel.idle_since < late:
                            self.close(peer)
        finally:
            self._nursery = None

    def get(self, peer_id: str, addresses: Sequence[str]) -> Channel:
        """The channel to a peer.

        Raises:
            PeerGone: `run` has not begun, or has ended.
        """
        known = self._open.get(peer_id)
        if known is not None:
            if addresses and known[0].addresses != list(addresses):
                known[0].move(addresses)
            return known[0]
        if self._nursery is None:
            raise PeerGone("the fabric is not running")
        channel = Channel(self._host, peer_id, addresses, self._protocol)
        scope = trio.CancelScope()
        self._open[peer_id] = (channel, scope)
        self._nursery.start_soon(self._keep, channel, scope)
        return channel

    @staticmethod
    async def _keep(channel: Channel, scope: trio.CancelScope) -> None:
        with scope:
            await channel.run()

    def close(self, peer_id: str) -> None:
        """Closes the channel to a peer."""
        known = self._open.pop(peer_id, None)
        if known is not None:
            known[1].cancel()

    def connected(self, peer_id: str) -> bool:
        """Whether there is an open stream to a peer."""
        known = self._open.get(peer_id)
        return known is not None and known[0].connected


def serve_channel(serve: Serve, max_concurrent: int = 64) -> Callable[[str, Any], Awaitable[None]]:
    """Stream handler that answers requests side by side.

    A `FabricError` of `serve` becomes a typed answer; anything else becomes INTERNAL without its text. Beyond
    `max_concurrent` requests wait, beyond 256 more they are refused with RESOURCE_EXHAUSTED: the reader never stops,
    because cancels come the same way, and a peer whose window stays shut for five seconds drops the stream.
    """

    async def on_stream(peer_id: str, stream: Any) -> None:
        calls = _Calls(serve, peer_id, Framer(stream), max_concurrent)
        try:
            await calls.run()
        except* (DecodeError, FabricError) as several:
            log.warning("a stream was reset", peer=peer_id, error=repr(first_of(several)))
        except* Exception as several:  # noqa: BLE001 - the peer went away, or sent what cannot be framed
            log.debug("a stream ended", peer=peer_id, error=repr(first_of(several)))
        finally:
            await end_stream(stream)

    return on_stream


class _Calls:
    """Requests of one stream."""

    def __init__(self, serve: Serve, peer_id: str, framer: Framer, max_concurrent: int) -> None:
        self._serve = serve
        self._peer_id = peer_id
        self._framer = framer
        self._slots = trio.Semaphore(max_concurrent)
        self._limit = max_concurrent + _WAITING
        self._writing = trio.Lock()
        self._running: dict[int, trio.CancelScope] = {}
        self._assembly = _Assembly()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                frame = pb.Frame.FromString(await self._framer.receive())
                if frame.cancel:
                    self._assembly.drop(frame.id)
                    if frame.id in self._running:
                        self._running[frame.id].cancel()
                    continue
                request = self._assembly.take(frame)
                if request is None:
                    continue
                if frame.id in self._running:
                    raise FabricError("INVALID_ARGUMENT", "two calls have one number")
                if len(self._running) >= self._limit:
                    await self._send(_refusal(frame.id, "RESOURCE_EXHAUSTED", "too many calls wait"))
                    continue
                # from here on a cancel finds it, even before its task has begun
                self._running[frame.id] = scope = trio.CancelScope()
                nursery.start_soon(self._work, frame.id, request, scope)

    async def _work(self, number: int, request: bytes, scope: trio.CancelScope) -> None:
        try:
            with scope:
                async with self._slots:
                    frames = await _answer(self._serve, self._peer_id, number, request)
                await self._send(*frames)
        finally:
            del self._running[number]

    async def _send(self, *frames: bytes) -> None:
        """Sends a message; a cancel may end it between frames, never within one, or the stream would be torn."""
        async with self._writing:
            for frame in frames:
                with trio.CancelScope(shield=True):
                    await self._framer.send(frame)
                await trio.lowlevel.checkpoint_if_cancelled()


async def _answer(serve: Serve, peer_id: str, number: int, request: bytes) -> list[bytes]:
    try:
        return frames_of(number, await serve(peer_id, request))
    except FabricError as error:
        return [_refusal(number, error.code, error.message)]
    except Exception:
        log.exception("request failed", peer=peer_id)
        return [_refusal(number, "INTERNAL", "an unexpected error at the peer")]


def _refusal(number: int, code: str, message: str) -> bytes:
    return pb.Frame(id=number, error=pb.Error(code=code, message=message)).SerializeToString()
