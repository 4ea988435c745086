"""A libp2p host that holds a port: `python -m tests.e2e.squatter PORT`."""

from __future__ import annotations

import secrets
import sys

import trio

from qmesh_fabric.host import open_host
from qmesh_fabric.identity import Identity


async def _main(port: int) -> None:
    async with open_host(Identity(secrets.token_bytes(32)), [f"/ip4/127.0.0.1/tcp/{port}"]):
        print("listening", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]))
