"""The bus on a real nats-server: streams as asked for, doorbells once, streams that were lost come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

from qmesh_kit.bus import Bus, BusError, connect_bus
from qmesh_kit.servers import NatsServer
from qmesh_kit.settings import NatsSection
from qmesh_kit.testing import nats_server

TOKEN = "test-token-of-nats-server"  # noqa: S105 - a test's own


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One nats-server for all tests."""
    with nats_server(Path(tmp_path_factory.mktemp("bus"))) as running:
        yield running


def section(server: NatsServer, token: str = TOKEN) -> NatsSection:
    """How to reach it."""
    return NatsSection.model_validate({"url": server.url, "token": token, "connect_timeout": "2s"})


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    """A connection."""
    async with connect_bus(section(server), "test") as opened:
        yield opened


def stream(name: str) -> StreamConfig:
    """A work queue on disk."""
    return StreamConfig(
        name=name, subjects=[f"{name.lower()}.wake"], retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE, max_bytes=1 << 20, duplicate_window=120,
    )  # fmt: skip


class Reader:
    """Collects doorbells until it is told to stop."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.seen: list[bytes] = []
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task = asyncio.ensure_future(bus.consume(name, "reader", self._take, stopping=self._stopping))

    async def _take(self, messages: Sequence[Msg]) -> None:
        self.seen += [message.data for message in messages]
        self._news.set()

    async def until(self, count: int) -> None:
        """Waits for so many."""
        async with asyncio.timeout(15):
            while len(self.seen) < count:
                self._news.clear()
                await self._news.wait()

    async def stop(self) -> None:
        """Ends."""
        self._stopping.set()
        await self._task


async def test_a_repeated_message_is_delivered_once(bus: Bus) -> None:
    """The same message id published three times is one doorbell."""
    await bus.ensure_stream(stream("ONCE"))
    reader = Reader(bus, "ONCE")
    for _ in range(3):
        await bus.publish("once.wake", b"a", msg_id="1")
    await bus.publish("once.wake", b"b", msg_id="2")
    await reader.until(2)
    await reader.stop()
    assert reader.seen == [b"a", b"b"]


async def test_a_lost_stream_is_made_again(bus: Bus, server: NatsServer) -> None:
    """When the server has forgotten a stream, its consumer makes it again and goes on."""
    await bus.ensure_stream(stream("LOST"))
    reader = Reader(bus, "LOST")
    await bus.publish("lost.wake", b"a", msg_id="1")
    await reader.until(1)
    client = await nats.connect(server.url, token=TOKEN)
    await client.jetstream().delete_stream("LOST")
    async with asyncio.timeout(15):
        while True:
            try:
                await client.jetstream().stream_info("LOST")
                break
            except nats.js.errors.NotFoundError:
                await asyncio.sleep(0.05)
    await bus.publish("lost.wake", b"b", msg_id="2")
    await reader.until(2)
    await reader.stop()
    await client.close()
    assert reader.seen == [b"a", b"b"]


async def test_what_the_server_took_is_read_back(bus: Bus) -> None:
    """A server that keeps another configuration than was asked for is refused with both values."""
    await bus.ensure_stream(stream("KEPT"))
    other = stream("KEPT")
    other.storage = StorageType.MEMORY
    with pytest.raises((BusError, nats.js.errors.APIError), match=r"storage"):
        await bus.ensure_stream(other)


async def test_a_server_that_is_away_is_said(server: NatsServer) -> None:
    """No server within its time is a sentence, not a hang."""
    away = NatsSection.model_validate({"url": "nats://127.0.0.1:9", "connect_timeout": "300ms"})
    with pytest.raises(BusError, match="cannot reach NATS"):
        async with asyncio.timeout(10), connect_bus(away, "test"):
            pass


async def test_a_wrong_token_is_said_without_the_token(server: NatsServer) -> None:
    """A refusal by the server never repeats the secret."""
    with pytest.raises(BusError) as refused:
        async with asyncio.timeout(10), connect_bus(section(server, "a-wrong-secret"), "test"):
            pass
    assert "a-wrong-secret" not in str(refused.value)


async def test_a_server_that_comes_back_is_told(tmp_path: Path) -> None:
    """Whoever listens hears that what was emitted meanwhile is lost, once for each time."""
    back = asyncio.Event()
    with contextlib.ExitStack() as first:
        server = first.enter_context(nats_server(tmp_path))
        async with connect_bus(section(server), "test") as bus:
            bus.when_back(back.set)
            first.close()
            with nats_server(tmp_path):
                async with asyncio.timeout(30):
                    await back.wait()
                assert bus.connected
