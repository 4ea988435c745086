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
from qmesh_fabric.errors import ChannelBusy, FabricError, PeerGone, RemoteError
from qmesh_fabric.frames import Framer
from qmesh_fabric.host import Host

log = structlog.get_logger()

CHUNK = 1 << 19
MAX_MESSAGE = 64 << 20
_QUEUE = 256
_FIRST_DELAY, _LAST_DELAY = 0.1, 2.0

Answer = Callable[[bytes | None, BaseException | None], None]
Serve = Callable[[str, bytes], Awaitable[bytes]]


def frames_of(number: int, payload: bytes) -> list[bytes]:
    """The frames of one message."""
    if len(payload) <= CHUNK:
        return [pb.Frame(id=number, payload=payload).SerializeToString()]
    pieces = range(0, len(payload), CHUNK)
    return [
        pb.Frame(id=number, payload=payload[at : at + CHUNK], more=at + CHUNK < len(payload)).SerializeToString()
        for at in pieces
    ]


class _Assembly:
    """Joins the frames of messages that arrive side by side."""

    def __init__(self) -> None:
        self._parts: dict[int, bytearray] = {}

    def take(self, frame: pb.Frame) -> bytes | None:
        """The whole message when this frame ends it."""
        if not frame.more and frame.id not in self._parts:
            return frame.payload
        part = self._parts.setdefault(frame.id, bytearray())
        part += frame.payload
        if len(part) > MAX_MESSAGE or len(self._parts) > _QUEUE:
            raise FabricError("MESSAGE_TOO_LARGE", f"a message is above {MAX_MESSAGE} bytes")
        if frame.more:
            return None
        return bytes(self._parts.pop(frame.id))

    def drop(self, number: int) -> None:
        self._parts.pop(number, None)


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
        self._up = trio.Event()
        self._failed: PeerGone | None = None
        self.last_used = trio.current_time()

    @property
    def connected(self) -> bool:
        """Whether the stream is open now."""
        return self._up.is_set() and self._failed is None

    async def run(self) -> None:
        """Keeps the stream open until it is cancelled; a peer that cannot be reached fails the calls that wait."""
        delay = _FIRST_DELAY
        while True:
            stream: Any = None
            try:
                stream = await self._host.open_stream(self.peer_id, self.addresses, self._protocol)
                delay = _FIRST_DELAY
                self._failed = None
                self._up.set()
                await self._work(stream)
            except PeerGone as error:
                self._failed = error
            finally:
                gone = self._failed or PeerGone(f"the stream to {self.peer_id} ended")
                self._failed = gone
                self._fail_all(gone)
                up, self._up = self._up, trio.Event()
                up.set()
                if stream is not None:
                    with trio.CancelScope(shield=True), trio.move_on_after(1):
                        await _reset(stream)
            await trio.sleep(delay)
            delay = min(delay * 2, _LAST_DELAY)

    async def _work(self, stream: Any) -> None:
        framer = Framer(stream)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, framer)
                await self._read(framer)
        except* Exception as several:
            raise PeerGone(f"the stream to {self.peer_id} ended: {_first(several)!r}"[:200]) from None

    def _fail_all(self, error: PeerGone) -> None:
        pending, self._pending = self._pending, {}
        for answer in pending.values():
            answer(None, error)

    async def _write(self, framer: Framer) -> None:
        async for number, frames in self._take:
            if number and number not in self._pending:
                continue  # its caller does not wait any more
            for frame in frames:
                await framer.send(frame)

    async def _read(self, framer: Framer) -> None:
        assembly = _Assembly()
        while True:
            frame = pb.Frame.FromString(await framer.receive())
            if frame.HasField("error"):
                assembly.drop(frame.id)
                answer = self._pending.pop(frame.id, None)
                if answer is not None:
                    answer(None, RemoteError(frame.error.code, frame.error.message))
                continue
            message = assembly.take(frame)
            if message is not None:
                answer = self._pending.pop(frame.id, None)
                if answer is not None:
                    answer(message, None)

    def begin(self, payload: bytes, answer: Answer) -> int:
        """Sends a request; `answer` is called once, with bytes or an error.

        Raises:
            ChannelBusy: too many calls wait.
            PeerGone: the last attempt to reach the peer failed.
        """
        if self._failed is not None and not self._up.is_set():
            raise self._failed
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

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the channels until it is cancelled; start it with `nursery.start`."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                await trio.sleep(self._idle / 4)
                late = trio.current_time() - self._idle
                for peer, (channel, _) in list(self._open.items()):
                    if channel.last_used < late:
                        self.close(peer)

    def get(self, peer_id: str, addresses: Sequence[str]) -> Channel:
        """The channel to a peer."""
        known = self._open.get(peer_id)
        if known is not None:
            if addresses and known[0].addresses != list(addresses):
                known[0].addresses = list(addresses)
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

    A `FabricError` of `serve` becomes a typed answer; anything else becomes INTERNAL without its text.
    """

    async def on_stream(peer_id: str, stream: Any) -> None:
        framer = Framer(stream)
        writing = trio.Lock()
        slots = trio.Semaphore(max_concurrent)
        running: dict[int, trio.CancelScope] = {}

        async def answer(number: int, request: bytes) -> None:
            with trio.CancelScope() as scope:
                running[number] = scope
                try:
                    frames = await _answer(serve, peer_id, number, request)
                    async with writing:
                        for frame in frames:
                            await framer.send(frame)
                finally:
                    running.pop(number, None)
                    slots.release()

        try:
            async with trio.open_nursery() as nursery:
                assembly = _Assembly()
                while True:
                    frame = pb.Frame.FromString(await framer.receive())
                    if frame.cancel:
                        if frame.id in running:
                            running[frame.id].cancel()
                        continue
                    request = assembly.take(frame)
                    if request is not None:
                        await slots.acquire()
                        nursery.start_soon(answer, frame.id, request)
        except* (DecodeError, FabricError) as several:
            log.warning("a stream was reset", peer=peer_id, error=repr(_first(several)))
            await _reset(stream)
        except* Exception as several:  # the peer went away, or sent what cannot be framed
            log.debug("a stream ended", peer=peer_id, error=repr(_first(several)))
            await _reset(stream)

    return on_stream


async def _answer(serve: Serve, peer_id: str, number: int, request: bytes) -> list[bytes]:
    try:
        return frames_of(number, await serve(peer_id, request))
    except FabricError as error:
        refusal = pb.Error(code=error.code, message=error.message)
    except Exception:
        log.exception("request failed", peer=peer_id)
        refusal = pb.Error(code="INTERNAL", message="an unexpected error at the peer")
    return [pb.Frame(id=number, error=refusal).SerializeToString()]


async def _reset(stream: Any) -> None:
    try:
        await stream.reset()
    except Exception as error:  # noqa: BLE001 - it is gone either way
        log.debug("reset", error=repr(error))


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = several
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
