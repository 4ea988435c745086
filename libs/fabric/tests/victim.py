"""One host in a process of its own, to be struck: `victim.py bare|guarded [connections]`.

`bare` is the library as it is shipped, on TCP, Noise and Yamux; `guarded` is `open_host`. Both serve the same protocols
and tell their address on one line. The process ends with its standard input.
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from qmesh_fabric.frames import Framer
from qmesh_fabric.identity import Identity

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
Opened = tuple[Any, Any, list[str]]
"""The library's host and pubsub, and where it listens."""


@asynccontextmanager
async def bare(seed: bytes, connections: int, listen: str = ANYWHERE) -> AsyncIterator[Opened]:
    """The library's own host and pubsub, without the guard."""
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.network.config import ConnectionConfig
    from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
    from libp2p.pubsub.pubsub import Pubsub
    from libp2p.tools.anyio_service import background_trio_service
    from multiaddr import Multiaddr

    config = ConnectionConfig(
        max_connections=connections, high_watermark=connections - 1, min_connections=0, low_watermark=0
    )
    host = new_host(key_pair=create_new_key_pair(seed), connection_config=config)
    router = GossipSub(
        protocols=[PROTOCOL_ID_V11], degree=6, degree_low=4, degree_high=12, spam_protection_enabled=False
    )
    pubsub = Pubsub(host, router, strict_signing=True)
    async with (
        host.run([Multiaddr(listen)]),
        background_trio_service(pubsub),
        background_trio_service(router),
    ):
        await pubsub.wait_until_ready()
        yield host, pubsub, [f"{a}/p2p/{host.get_id()}" for a in host.get_transport_addrs()]


@asynccontextmanager
async def guarded(seed: bytes, connections: int, listen: str = ANYWHERE) -> AsyncIterator[Opened]:
    """The same behind the guard."""
    from qmesh_fabric import host as fabric

    fabric._CONNECTIONS = connections
    async with fabric.open_host(Identity(seed), [listen], pubsub="sink") as host:
        yield host.inner, host.pubsub, host.listen_addrs()


async def echo(stream: Any) -> None:
    """Answers each frame with itself."""
    framer = Framer(stream)
    while True:
        try:
            await framer.send(await framer.receive())
        except Exception:  # noqa: BLE001 - whatever it was, the caller is gone
            await stream.reset()
            return


async def whoami(stream: Any) -> None:
    """Answers with the peer id that the connection claims."""
    await Framer(stream).send(str(stream.muxed_conn.peer_id).encode())


def burden_of(host: Any) -> Callable[[Any], Awaitable[None]]:
    """A handler that answers with what the most laden connection has: streams, unread bytes; and streams refused so far."""

    async def burden(stream: Any) -> None:
        connections = [c.muxed_conn for several in host.get_network().connections.values() for c in several]
        streams = max(len(muxed.streams) for muxed in connections)
        unread = max(sum(len(b) for b in muxed.stream_buffers.values()) for muxed in connections)
        refused = guard.dropped["too many streams"] if (guard := sys.modules.get("qmesh_fabric.guard")) else 0
        await Framer(stream).send(json.dumps([streams, unread, refused]).encode())

    return burden


async def park(_stream: Any) -> None:
    """Never reads."""
    await trio.sleep_forever()


async def fail(_stream: Any) -> None:
    """A handler with a bug."""
    raise ZeroDivisionError


def validate(_forwarder: Any, message: Any) -> bool:
    """A validator with a bug."""
    if message.data == b"raise":
        raise ZeroDivisionError
    return True


async def main(mode: str, connections: int) -> None:
    """Serves until standard input ends."""
    made = bare if mode == "bare" else guarded
    async with made(mode.encode().ljust(32), connections) as (host, pubsub, addresses):
        for handler in (echo, whoami, burden_of(host), park, fail):
            host.set_stream_handler(f"/{handler.__name__}", handler)
        pubsub.set_topic_validator("topic", validate, False)
        await pubsub.subscribe("topic")
        sys.stdout.write(json.dumps([str(host.get_id()), addresses[0]]) + "\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)  # type: ignore[call-arg] # the stubs are of an older trio
    sys.exit(0)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
