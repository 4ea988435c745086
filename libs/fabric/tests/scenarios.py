"""What happens to a host through its own calls: `scenarios.py NAME bare|guarded` prints the outcome as JSON.

Two hosts in one trio loop; `bare` is the library as it is shipped.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import trio
from victim import Opened, bare, echo, guarded  # type: ignore[import-not-found] # the script stands beside this one

from qmesh_fabric.identity import Identity

MODE = sys.argv[2]
made = bare if MODE == "bare" else guarded


def opened(seed: bytes, **named: Any) -> AbstractAsyncContextManager[Opened]:
    """A host by its seed."""
    host: AbstractAsyncContextManager[Opened] = made(seed.ljust(32), 2000, **named)
    return host


async def connect(host: Any, addresses: list[str]) -> Any:
    """Dials."""
    from libp2p.peer.id import ID
    from libp2p.peer.peerinfo import PeerInfo
    from multiaddr import Multiaddr

    peer = ID.from_string(addresses[0].rpartition("/p2p/")[2])
    with trio.fail_after(5):
        await host.connect(PeerInfo(peer, [Multiaddr(a) for a in addresses]))
    return peer


async def echoed(host: Any, peer: Any) -> bool:
    """Whether a call on a new stream is answered."""
    from qmesh_fabric.frames import Framer

    with trio.move_on_after(1):
        with suppress(Exception):
            stream = await host.new_stream(peer, ["/echo"])
            framer = Framer(stream)
            await framer.send(b"hello")
            return await framer.receive() == b"hello"
    return False


async def cancelled_write() -> bool:
    """A write that is cancelled between encryption and socket: is the connection alive afterwards?"""
    from libp2p.security.noise.io import NoiseTransportReadWriter

    async with opened(b"a") as (host, _, _), opened(b"b") as (other, _, addresses):
        other.set_stream_handler("/echo", echo)
        peer = await connect(host, addresses)
        connection = host.get_network().get_connections(peer)[0]
        stream = await host.new_stream(peer, ["/echo"])
        assert await echoed(host, peer)
        original = NoiseTransportReadWriter.encrypt
        with trio.CancelScope() as scope:

            def encrypt(self: Any, data: bytes) -> Any:
                NoiseTransportReadWriter.encrypt = original  # type: ignore[method-assign] # the fault happens once
                scope.cancel()
                return original(self, data)

            NoiseTransportReadWriter.encrypt = encrypt  # type: ignore[method-assign] # this is the injected fault
            await stream.write(b"x")
        assert scope.cancelled_caught
        return await echoed(host, peer) and connection in host.get_network().get_connections(peer)


async def cancelled_open() -> list[object]:
    """How many of 32 slots for streams are left after openings that were cancelled half-way: as many as it takes, at most 96."""
    async with opened(b"a") as (host, _, _), opened(b"b") as (other, _, addresses):
        other.set_stream_handler("/echo", echo)
        peer = await connect(host, addresses)
        muxed = host.get_network().get_connections(peer)[0].muxed_conn
        original = muxed._write_frame
        muxed.stream_backlog_semaphore = trio.Semaphore(32)
        for _ in range(96):  # another frame may take the place of an opening's own
            if not muxed.stream_backlog_semaphore.value:
                break
            with trio.CancelScope() as scope:

                async def write(data: bytes, scope: trio.CancelScope = scope) -> None:
                    muxed._write_frame = original
                    scope.cancel()
                    await original(data)

                muxed._write_frame = write
                await host.new_stream(peer, ["/echo"])
            muxed._write_frame = original
        return [muxed.stream_backlog_semaphore.value, await echoed(host, peer)]


async def dial() -> float:
    """Seconds of the fastest of three dials."""
    took = []
    for seed in (b"b", b"c", b"d"):
        async with opened(b"a") as (host, _, _), opened(seed) as (_, _, addresses):
            begun = trio.current_time()
            await connect(host, addresses)
            took.append(trio.current_time() - begun)
    return min(took)


async def failed_dial() -> object:
    """A dial before the other host listens, then one after: does the second succeed?"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"/ip4/127.0.0.1/tcp/{free.getsockname()[1]}"
    async with opened(b"a") as (host, _, _):
        address = f"{listen}/p2p/{Identity(b'b'.ljust(32)).peer_id}"
        with suppress(Exception):
            await connect(host, [address])
            return "the port was taken"
        async with opened(b"b", listen=listen) as (other, _, _):
            other.set_stream_handler("/echo", echo)
            with suppress(Exception):
                return await echoed(host, await connect(host, [address]))
            return False


async def moved_peer() -> bool:
    """Whether a peer that came back on another port is found at its new address."""
    from qmesh_fabric.host import Host

    async with opened(b"a") as (host, _, _):
        async with opened(b"b") as (_, _, before):
            peer = await connect(host, before)
            await host.get_network().close_peer(peer)
        async with opened(b"b") as (other, _, after):
            assert after != before
            other.set_stream_handler("/echo", echo)
            with suppress(Exception):
                if MODE == "bare":
                    await connect(host, after)
                else:
                    await Host(host, None).connect(str(peer), after)
                return await echoed(host, peer)
            return False


async def burst() -> int:
    """How many of 200 messages a subscriber finds that was busy while they came."""
    async with opened(b"a") as (_, pubsub, _):
        subscription = await pubsub.subscribe("burst")
        for number in range(200):
            await pubsub.publish("burst", str(number).encode())
        found = 0
        with trio.move_on_after(0.5):
            while True:
                await subscription.get()
                found += 1
        return found


async def shared_port() -> str:
    """What the second host on one port is told."""
    from qmesh_fabric.errors import ListenError

    async with opened(b"a") as (_, _, addresses):
        try:
            async with opened(b"b", listen=addresses[0].rpartition("/p2p/")[0]) as (_, _, others):
                return "shared" if others[0].split("/")[4] == addresses[0].split("/")[4] else "elsewhere"
        except ListenError as error:
            return str(error)


async def left_host() -> bool:
    """Whether the port of a host still takes connections after the host has left its context."""
    async with opened(b"a") as (_, _, addresses):
        port = int(addresses[0].split("/")[4])
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


async def frozen_peer() -> bool:
    """Whether the stop of the other process is noticed within two seconds."""
    from qmesh_fabric import host as fabric

    fabric._HEALTH_SECONDS = 0.3
    script = Path(__file__).with_name("victim.py")
    other = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        [sys.executable, script, "bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    try:
        _, address = json.loads(other.stdout.readline())
        async with opened(b"a") as (host, _, _):
            peer = await connect(host, [address])
            assert await echoed(host, peer)
            os.kill(other.pid, signal.SIGSTOP)
            connection = host.get_network().get_connections(peer)[0]
            with trio.move_on_after(2):
                await connection.muxed_conn.event_closed.wait()
                return True
            return False
    finally:
        other.kill()
        other.wait()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trio.run(globals()[sys.argv[1]])) + "\n")
    sys.stdout.flush()
    os._exit(0)
