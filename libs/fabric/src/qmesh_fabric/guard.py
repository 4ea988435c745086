"""What keeps py-libp2p 0.8.1 alive: wrappers around private names, applied before any host is made.

As shipped, one malformed frame, one raising handler or one cancelled write ends the process or the connection. Each
wrapper names the hazard that it removes (G1 to G11, P1: `docs/adr/0005-guarded-libp2p.md`). A wrapped name that
disappears upstream fails here, at import, and not at the first hostile frame.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from typing import Any

import structlog
import trio
from libp2p.network.exceptions import SwarmException
from libp2p.pubsub.gossipsub import GossipSub

from qmesh_fabric.errors import GuardError

log = structlog.get_logger()

VERSION = "0.8.1"
WINDOW = 4 << 20
MAX_BUFFERED = 5 << 20
MAX_STREAMS = 256
WRITE_SECONDS = 10.0
OPEN_SECONDS = 10.0
SUBSCRIPTION_QUEUE = 4096

dropped: Counter[str] = Counter()
"""How often each wrapper had to act."""

_last_logged: dict[str, float] = {}


def _note(what: str, error: BaseException | None = None) -> None:
    """Counts, and logs each kind at most once a second: a peer must not fill the log."""
    dropped[what] += 1
    now = time.monotonic()
    if now - _last_logged.get(what, 0.0) >= 1.0:
        _last_logged[what] = now
        log.warning("guard", event_kind=what, count=dropped[what], error=repr(error)[:160] if error else None)


class _Window(bytearray):
    """G8: a peer that overruns the receive window would grow the buffer without bound."""

    def extend(self, data: Any) -> None:
        if len(self) + len(data) > MAX_BUFFERED:
            _note("window overrun")
            raise BufferError("the peer overran the receive window")
        super().extend(data)


class _Buffers(dict[int, bytearray]):
    def __setitem__(self, key: int, value: bytearray) -> None:
        super().__setitem__(key, _Window(value))


class SinkGossipSub(GossipSub):
    """G7: a coordinator receives and publishes but never relays, or the hub's cost grows with the square of peers."""

    async def publish(self, msg_forwarder: Any, pubsub_msg: Any) -> None:
        """Publishes own messages only."""
        if self.pubsub is not None and msg_forwarder == self.pubsub.my_id:
            await super().publish(msg_forwarder, pubsub_msg)


def _wrap_stream_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    """G1: an exception out of a handler, or a name that is not UTF-8, stops the whole swarm."""

    async def handler(self: Any, stream: Any) -> None:
        try:
            await original(self, stream)
        except Exception as error:  # noqa: BLE001 - whatever a peer provokes must end here
            _note("stream handler", error)
            try:
                await stream.reset()
            except Exception as again:  # noqa: BLE001 - the stream is gone either way
                _note("stream reset", again)

    return handler


def _wrap_push(original: Callable[..., Any]) -> Callable[..., Any]:
    """G1: an undecodable key or a raising validator stops pubsub."""

    async def push(self: Any, forwarder: Any, message: Any) -> None:
        try:
            await original(self, forwarder, message)
        except Exception as error:  # noqa: BLE001 - as above
            _note("pubsub message", error)

    return push


def _wrap_inbound(original: Callable[..., Any]) -> Callable[..., Any]:
    """G3: an inbound slot is freed only at shutdown unless its task lasts as long as the connection."""

    async def inbound(self: Any, raw: Any, address: Any) -> Any:
        connection = await original(self, raw, address)
        await connection.event_closed.wait()
        raise SwarmException("connection ended")

    return inbound


def _wrap_write(original: Callable[..., Any]) -> Callable[..., Any]:
    """G4: a write that is cancelled half-way loses an encrypted frame, and with it the connection."""

    async def write(self: Any, data: bytes) -> None:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(WRITE_SECONDS) as limit:
                await original(self, data)
            if limit.cancelled_caught:
                _note("stalled write")
                await self._cleanup_on_error()
                raise ConnectionError("the peer takes no data")
        await trio.lowlevel.checkpoint_if_cancelled()

    return write


def _wrap_open(original: Callable[..., Any]) -> Callable[..., Any]:
    """G4: cancelling the opening of a stream leaks one of 256 slots."""

    async def open_stream(self: Any, *arguments: Any) -> Any:
        with trio.CancelScope(shield=True), trio.fail_after(OPEN_SECONDS):
            return await original(self, *arguments)

    return open_stream


def _wrap_yamux_init(original: Callable[..., None]) -> Callable[..., None]:
    """G8: bounded buffers from the first byte."""

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self.stream_buffers = _Buffers()

    return init


def _wrap_accept(original: Callable[..., Any]) -> Callable[..., Any]:
    """G8: no more than 256 streams on one connection."""

    async def accept(self: Any) -> Any:
        while len((stream := await original(self)).conn.streams) > MAX_STREAMS:
            _note("too many streams")
            await stream.reset()
        return stream

    return accept


async def _credit(self: Any, *, bytes_read: int = 0) -> None:
    """P1: one window update for each half window instead of one for each read."""
    self._pending_recv_release += bytes_read
    if self._pending_recv_release >= self.target_recv_window // 2:
        amount, self._pending_recv_release = self._pending_recv_release, 0
        amount += max(0, WINDOW - self.target_recv_window)
        self.target_recv_window = WINDOW
        self.recv_window += amount
        await self.send_window_update(amount)


async def _listeners(host: str | None, port: int) -> list[trio.SocketListener]:
    """G11: without SO_REUSEPORT a port that is taken is an error, also between two libp2p hosts."""
    return list(await trio.open_tcp_listeners(port, host=host))


async def _never(self: Any) -> None:
    """G10: nothing is dialled that we did not ask for."""


def _forget(self: Any, peer_id: str) -> None:
    """G6: one failed dial must not shut a peer out for a minute."""


def _instead(value: Any) -> Callable[[Any], Any]:
    return lambda _original: value


_WRAPPERS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("libp2p.host.basic_host:BasicHost._swarm_stream_handler", _wrap_stream_handler),
    ("libp2p.pubsub.pubsub:Pubsub.push_msg", _wrap_push),
    ("libp2p.network.swarm:Swarm.upgrade_inbound_raw_conn", _wrap_inbound),
    ("libp2p.stream_muxer.yamux.yamux:Yamux._write_frame", _wrap_write),
    ("libp2p.network.swarm:Swarm._open_stream_on_connection", _wrap_open),
    ("libp2p.network.swarm:_HAPPY_EYEBALLS_DELAY", _instead(0.0)),  # G5: every dial would wait 250 ms
    ("libp2p.network.swarm:_NegativePeerCache.mark_failed", _instead(_forget)),
    ("libp2p.stream_muxer.yamux.yamux:Yamux.__init__", _wrap_yamux_init),
    ("libp2p.stream_muxer.yamux.yamux:Yamux.accept_stream", _wrap_accept),
    (
        "libp2p.pubsub.pubsub:SUBSCRIPTION_CHANNEL_SIZE",
        _instead(SUBSCRIPTION_QUEUE),
    ),  # G9: 32, the rest dropped
    ("libp2p.network.auto_connector:AutoConnector.maybe_connect", _instead(_never)),
    ("libp2p.transport.tcp.tcp:_open_reuseport_listeners", _instead(_listeners)),
    ("libp2p.stream_muxer.yamux.yamux:YamuxStream._auto_tune_and_send_window_update", _instead(_credit)),
)
_USED = (
    "libp2p.stream_muxer.yamux.yamux:Yamux._cleanup_on_error",
    "libp2p.stream_muxer.yamux.yamux:YamuxStream.send_window_update",
)


def _owner_of(name: str) -> tuple[Any, str]:
    """The module or class that has a name, and the name in it.

    Raises:
        GuardError: the library does not have it.
    """
    module, _, path = name.partition(":")
    owner_path, _, attribute = path.rpartition(".")
    try:
        owner: Any = import_module(module)
        if owner_path:
            owner = attrgetter(owner_path)(owner)
        getattr(owner, attribute)
    except (ImportError, AttributeError):
        message = f"libp2p lacks {module}.{path}, which the guard wraps: pin libp2p=={VERSION}"
        raise GuardError(message) from None
    return owner, attribute


def check(found: str | None = None) -> None:
    """Refuses a library that the guard was not written for.

    Args:
        found: installed version; asked for when None.

    Raises:
        GuardError: another version, or a name that is gone.
    """
    installed = found or version("libp2p")
    if installed != VERSION:
        raise GuardError(
            f"the guard is for libp2p {VERSION}, {installed} is installed: pin libp2p=={VERSION}"
        )
    for name in [*(name for name, _ in _WRAPPERS), *_USED]:
        _owner_of(name)


check()

_applied = False


def apply() -> None:
    """Applies all wrappers, once."""
    global _applied  # noqa: PLW0603 - the library's classes are global, too
    if _applied:
        return
    _applied = True
    for name, wrap in _WRAPPERS:
        owner, attribute = _owner_of(name)
        setattr(owner, attribute, wrap(getattr(owner, attribute)))
