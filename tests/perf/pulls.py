"""A state pull beside the bytes of a raw stream between the same two processes.

`python -m tests.perf.pulls serve` prints its address; `... call ADDRESS` prints both rates in bytes a second as JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from typing import Any

import numpy as np
import trio

from tests.mesh import ROOT
from tests.perf.figure import Figure

_RAW = "/qmesh/bench-bytes/1.0.0"
_QUBITS = 21
_SHOTS = 1024
_CHUNK = 256 << 10
_ROUNDS = 5


def _version() -> Any:
    """A version of 32 MiB with its reference."""
    from qmesh.fabric.v1 import state_pb2 as state
    from qmesh_node.domain.ensemble import Ensemble

    rng = np.random.default_rng(1)
    states = rng.normal(size=(1, 2 << _QUBITS)).view(np.complex128)
    states /= np.linalg.norm(states)
    made = Ensemble(tuple(range(_QUBITS)), states, np.zeros(_SHOTS, dtype=np.uint32))
    made.freeze()
    ref = state.ComponentRef(
        id=state.ComponentId(job_id="bench"), wires=made.wires, executor=state.EXECUTOR_KIND_ENSEMBLE,
        precision=state.PRECISION_DOUBLE, shots=state.ShotRange(count=_SHOTS), rows=1, digest=made.digest(), bytes=made.nbytes,
    )  # fmt: skip
    return made, ref


async def _serve() -> None:
    from qmesh_fabric import protocols
    from qmesh_fabric.host import open_host
    from qmesh_fabric.identity import Identity
    from qmesh_fabric.state import serve_state

    made, ref = _version()
    identity = Identity(secrets.token_bytes(32))

    async def pour(_peer_id: str, stream: Any) -> None:
        await stream.read(1)
        flat = made.parts()[0].cast("B")
        for at in range(0, flat.nbytes, _CHUNK):
            await stream.write(bytes(flat[at : at + _CHUNK]))
        await stream.close()

    async with open_host(identity, ["/ip4/127.0.0.1/tcp/0"]) as host:
        host.serve(_RAW, pour)
        host.serve(protocols.STATE, serve_state(lambda _peer, _request: (ref, made.parts())))
        print(host.listen_addrs()[0], flush=True)
        await trio.sleep_forever()


async def _call(address: str) -> None:
    from qmesh_fabric.host import open_host
    from qmesh_fabric.identity import Identity
    from qmesh_node.adapters.states import PulledStates

    _, ref = _version()
    addresses, holder = [address.rsplit("/p2p/", 1)[0]], address.rsplit("/", 1)[1]
    ref.holder = holder
    rates: dict[str, list[float]] = {"raw": [], "pull": []}
    async with open_host(Identity(secrets.token_bytes(32)), ["/ip4/127.0.0.1/tcp/0"]) as host:
        await host.connect(holder, addresses)
        states = PulledStates(host)
        for _ in range(_ROUNDS):
            begun, got = time.perf_counter(), 0
            stream = await host.open_stream(holder, addresses, _RAW)
            await stream.write(b"!")
            while got < ref.bytes - 4 * _SHOTS:
                got += len(await stream.read(65536))
            await stream.close()
            rates["raw"].append(got / (time.perf_counter() - begun))
            begun = time.perf_counter()
            await states.pull(ref, addresses, b"", time.time() + 120)
            rates["pull"].append(ref.bytes / (time.perf_counter() - begun))
    print(json.dumps(rates), flush=True)


def run() -> list[Figure]:
    """The figures; both kinds take turns."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.perf.pulls"]
    with subprocess.Popen(
        [*command, "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            done = subprocess.run(
                [*command, "call", address], capture_output=True, text=True, check=True, cwd=ROOT, timeout=300
            )
        finally:
            server.kill()
    rates = json.loads(done.stdout.splitlines()[-1])
    raw, pull = (sorted(rates[kind])[_ROUNDS // 2] / 1e6 for kind in ("raw", "pull"))
    size = (16 << _QUBITS) >> 20
    how = f"{size} MiB, digest and norms checked, two processes on one machine, median of {_ROUNDS} in turns"
    return [
        Figure("state pull", pull, "MB/s", more=True, how=how),
        Figure("state pull / raw stream", pull / raw, "x", 0.6, more=True, how=f"raw stream {raw:.0f} MB/s"),
    ]


if __name__ == "__main__":
    trio.run(*((_serve,) if sys.argv[1] == "serve" else (_call, sys.argv[2])))
