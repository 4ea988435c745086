"""NATS: JetStream for doorbells, core for live events, KV for projections.

PostgreSQL is the truth; nothing here is. Servers before 2.14 accept settings that they do not know and ignore them, so
the version is read and every stream's configuration is read back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, KeyValueConfig, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from qmesh_kit import trace
from qmesh_kit.errors import ServiceError, register_translator
from qmesh_kit.settings import NatsSection

log = structlog.get_logger()

_FLOOR = (2, 14)
_PAUSE = 0.5
_DRAIN_SECONDS = 3
_FETCH_SECONDS = 5.0

Handler = Callable[[Msg], Awaitable[None]]


def _translate(error: BaseException) -> ServiceError | None:
    if isinstance(error, NatsError):
        return ServiceError("UNAVAILABLE", "the message bus does not answer", retry_after=1.0)
    return None


register_translator(_translate)


class BusError(Exception):
    """The server cannot be used; says why."""


class Bus:
    """One connection."""

    def __init__(self, client: Client, request_timeout: float, stream_replicas: int = 1) -> None:
        """Made by `connect_bus`."""
        self._replicas = stream_replicas
        self._streams: dict[str, StreamConfig] = {}
        self._when_back: list[Callable[[], None]] = []
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=request_timeout)
        self._timeout = request_timeout

    @property
    def connected(self) -> bool:
        """Whether the server is there now."""
        return self._client.is_connected

    async def check(self) -> None:
        """Refuses a server that would silently ignore what we ask.

        Raises:
            BusError: too old, or without JetStream.
        """
        version = self._client.connected_server_version
        if (version.major, version.minor) < _FLOOR:
            raise BusError(
                f"nats-server {version.major}.{version.minor} is older than {_FLOOR[0]}.{_FLOOR[1]}"
            )
        try:
            info = await self._js.account_info()
        except NatsError as error:
            raise BusError(f"JetStream is not available: {error}") from None
        level = getattr(getattr(info, "api", None), "level", None)
        if level is not None and level < 1:
            raise BusError("the server's JetStream API level is below 1")

    async def ensure_stream(self, config: StreamConfig) -> None:
        """Makes or updates a stream with as many copies as settings ask for, then reads back what the server really took.

        Raises:
            BusError: the server took something else.
        """
        self._streams[config.name or ""] = config
        config = replace(config, num_replicas=self._replicas)
        try:
            await self._js.add_stream(config)
        except APIError:
            await self._js.update_stream(config)
        taken = (await self._js.stream_info(config.name or "")).config
        for name in (
            "subjects",
            "retention",
            "storage",
            "max_bytes",
            "duplicate_window",
            "discard",
            "num_replicas",
        ):
            wanted = getattr(config, name)
            if wanted is not None and getattr(taken, name) != wanted:
                raise BusError(
                    f"stream {config.name}: the server took {name}={getattr(taken, name)!r}, not {wanted!r}"
                )

    async def publish(self, subject: str, data: bytes, *, msg_id: str) -> None:
        """Publishes to JetStream and waits for the acknowledgement."""
        headers = {"Nats-Msg-Id": msg_id} | _trace_headers()
        await self._js.publish(subject, data, headers=headers, timeout=self._timeout)

    async def emit(self, subject: str, data: bytes) -> None:
        """Publishes to whoever listens now."""
        await self._client.publish(subject, data)

    async def subscribe(self, subject: str, handler: Handler) -> None:
        """Hands every message to a handler, for as long as the connection lives."""
        await self._client.subscribe(subject, cb=handler, pending_msgs_limit=65536)

    def when_back(self, act: Callable[[], None]) -> None:
        """Does something whenever the connection is back: what was emitted meanwhile never comes."""
        self._when_back.append(act)

    def tell_back(self) -> None:
        """The connection is back."""
        for act in self._when_back:
            act()

    async def consume(
        self,
        stream: str,
        durable: str,
        handler: Callable[[Sequence[Msg]], Awaitable[None]],
        *,
        batch: int = 16,
        stopping: asyncio.Event,
    ) -> None:
        """Fetches doorbells until the service stops; they are acknowledged at once, the database has the work.

        A stream that the server lost is made again, as `ensure_stream` made it.
        """
        config = ConsumerConfig(
            durable_name=durable, ack_policy=AckPolicy.EXPLICIT, ack_wait=30, max_deliver=5
        )
        while not stopping.is_set():
            try:
                subscription = await self._js.pull_subscribe("", durable, stream, config=config)
                try:
                    await self._take(subscription, batch, handler, stopping)
                finally:
                    await subscription.unsubscribe()  # else a drain waits for it
            except (NatsError, OSError) as error:
                log.warning("consumer interrupted", stream=stream, error=repr(error))
                await asyncio.sleep(_PAUSE)
                await self._renew(stream)

    async def _take(
        self,
        subscription: Any,
        batch: int,
        handler: Callable[[Sequence[Msg]], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        while not stopping.is_set():
            messages = await self._fetch(subscription, batch)
            for message in messages:
                await message.ack()
            if messages:
                await handler(messages)

    async def _renew(self, stream: str) -> None:
        try:
            await self.ensure_stream(self._streams[stream])
        except (NatsError, OSError) as error:
            log.warning("stream not there", stream=stream, error=repr(error))

    @staticmethod
    async def _fetch(subscription: Any, batch: int) -> list[Msg]:
        try:
            found: list[Msg] = await subscription.fetch(batch, timeout=_FETCH_SECONDS)
        except TimeoutError:  # the builtin one is raised when idle, too
            return []
        return found

    async def bucket(self, name: str, *, ttl_seconds: float = 0.0) -> Bucket:
        """A key-value bucket in the server's memory."""
        try:
            store = await self._js.key_value(name)
        except NotFoundError:
            config = KeyValueConfig(
                bucket=name, storage=StorageType.MEMORY, history=1, ttl=ttl_seconds or None
            )
            store = await self._js.create_key_value(config)
        return Bucket(store)

    async def close(self) -> None:
        """Sends what is pending, then closes."""
        if not self._client.is_closed:
            await self._client.drain()


class Bucket:
    """A key-value bucket."""

    def __init__(self, store: Any) -> None:
        """Made by `Bus.bucket`."""
        self._store = store

    async def put(self, key: str, value: bytes) -> None:
        """Sets a key."""
        await self._store.put(key, value)

    async def get(self, key: str) -> bytes | None:
        """Value of a key; None without one."""
        try:
            entry = await self._store.get(key)
        except NotFoundError:
            return None
        return bytes(entry.value)

    async def delete(self, key: str) -> None:
        """Removes a key."""
        await self._store.delete(key)


def _trace_headers() -> dict[str, str]:
    context = trace.current()
    return {trace.TRACEPARENT: context.traceparent} if context is not None else {}


@asynccontextmanager
async def connect_bus(settings: NatsSection, name: str) -> AsyncIterator[Bus]:
    """A connection that comes back by itself.

    Raises:
        BusError: the server cannot be reached or used.
    """

    async def on_error(error: Exception) -> None:
        log.warning("bus error", error=repr(error))

    async def on_gone() -> None:
        log.warning("bus connection lost")

    async def on_back() -> None:
        log.info("bus connection back")
        bus.tell_back()

    options: dict[str, Any] = {
        "name": name,
        "connect_timeout": settings.connect_timeout,
        "reconnect_time_wait": settings.reconnect_wait,
        "max_reconnect_attempts": -1,
        "drain_timeout": _DRAIN_SECONDS,
        "pending_size": settings.pending,
        "error_cb": on_error,
        "disconnected_cb": on_gone,
        "reconnected_cb": on_back,
    }
    if settings.token is not None:
        options["token"] = settings.token.get_secret_value()
    if settings.creds_file is not None:
        options["user_credentials"] = str(settings.creds_file)
    if settings.ca_file is not None:
        options["tls"] = ssl.create_default_context(cafile=settings.ca_file)
    client = Client()
    bus = Bus(client, settings.request_timeout, settings.stream_replicas)
    try:
        async with asyncio.timeout(settings.connect_timeout * 2):
            await client.connect(settings.url, **options)
    except (NatsError, OSError, TimeoutError) as error:
        raise BusError(f"cannot reach NATS: {error or 'timeout'}") from None
    try:
        await bus.check()
        yield bus
    finally:
        await bus.close()


__all__ = ["Bucket", "Bus", "BusError", "StreamConfig", "connect_bus"]
