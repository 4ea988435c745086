"""The two ends of the libp2p benchmark as processes of their own.

`python -m tests.perf.echo serve raw|wrapped` prints its address; `... call raw|wrapped ADDRESS CALLS` prints seconds of each call and CPU
seconds as JSON. `raw` is the library as it is shipped, with framed messages on one long stream; `wrapped` is `qmesh_fabric`'s guarded host
and channel. They are apart because the guard changes the library in the process that imports it.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

_PROTOCOL = "/qmesh/bench/1.0.0"
_PAYLOAD = bytes(200)
WARM = 200


def _raw_host() -> Any:
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as create_x25519
    from libp2p.security.noise.transport import PROTOCOL_ID, Transport

    pair = create_new_key_pair(secrets.token_bytes(32))
    return new_host(
        key_pair=pair, sec_opt={PROTOCOL_ID: Transport(pair, noise_privkey=create_x25519().private_key)}
    )


async def _serve_raw() -> None:
    from multiaddr import Multiaddr

    from qmesh_fabric.frames import Framer

    host = _raw_host()

    async def echo(stream: Any) -> None:
        framer = Framer(stream)
        while True:
            await framer.send(await framer.receive())

    host.set_stream_handler(_PROTOCOL, echo)
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


async def _serve_wrapped() -> None:
    from qmesh_fabric.channel import serve_channel
    from qmesh_fabric.host import open_host
    from qmesh_fabric.identity import Identity

    async def echo(_peer_id: str, request: bytes) -> bytes:
        return request

    identity = Identity(secrets.token_bytes(32))
    async with open_host(identity, ["/ip4/127.0.0.1/tcp/0"]) as host:
        host.serve(_PROTOCOL, serve_channel(echo))
        print(host.listen_addrs()[0], flush=True)
        await trio.sleep_forever()


async def _measure(call: Callable[[], Awaitable[object]], calls: int) -> None:
    for _ in range(WARM):
        await call()
    seconds, cpu = [], time.process_time()
    for _ in range(calls):
        begun = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - begun)
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu}), flush=True)


async def _call_raw(address: str, calls: int) -> None:
    from libp2p.peer.peerinfo import info_from_p2p_addr
    from multiaddr import Multiaddr

    from qmesh_fabric.frames import Framer

    host = _raw_host()
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        peer = info_from_p2p_addr(Multiaddr(address))
        await host.connect(peer)
        framer = Framer(await host.new_stream(peer.peer_id, [_PROTOCOL]))

        async def call() -> bytes:
            await framer.send(_PAYLOAD)
            return await framer.receive()

        await _measure(call, calls)


async def _call_wrapped(address: str, calls: int) -> None:
    from qmesh_fabric.channel import Channels
    from qmesh_fabric.host import open_host
    from qmesh_fabric.identity import Identity

    identity = Identity(secrets.token_bytes(32))
    async with open_host(identity, ["/ip4/127.0.0.1/tcp/0"]) as host, trio.open_nursery() as nursery:
        channels = Channels(host, _PROTOCOL)
        await nursery.start(channels.run)
        channel = channels.get(address.rsplit("/", 1)[1], [address.rsplit("/p2p/", 1)[0]])
        await _measure(lambda: channel.call(_PAYLOAD, 10.0), calls)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    ends: dict[tuple[str, str], Callable[..., Awaitable[None]]] = {
        ("serve", "raw"): _serve_raw,
        ("serve", "wrapped"): _serve_wrapped,
        ("call", "raw"): _call_raw,
        ("call", "wrapped"): _call_wrapped,
    }
    trio.run(ends[sys.argv[1], sys.argv[2]], *(int(a) if a.isdigit() else a for a in sys.argv[3:]))
