"""One warm call over libp2p: the guarded fabric beside the library as it is shipped, in pairs on one machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.mesh import ROOT
from tests.perf.echo import WARM
from tests.perf.figure import Figure, quantile

_ROUNDS = 3
_CALLS = 1000


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tests.perf.echo", *arguments]


@contextmanager
def _server(kind: str) -> Iterator[tuple[str, psutil.Process]]:
    with subprocess.Popen(
        _command("serve", kind), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.kill()


def _round(kind: str) -> tuple[list[float], float]:
    """Milliseconds of each call, and CPU milliseconds of one call in both processes."""
    with _server(kind) as (address, server):
        idle = server.cpu_times()
        done = subprocess.run(
            _command("call", kind, address, str(_CALLS)),
            capture_output=True, text=True, check=True, cwd=ROOT, timeout=120,
        )  # fmt: skip
        busy = server.cpu_times()
        answer = json.loads(done.stdout.splitlines()[-1])
    served = (busy.user + busy.system - idle.user - idle.system) / (_CALLS + WARM)
    return [s * 1e3 for s in answer["seconds"]], (answer["cpu"] / _CALLS + served) * 1e3


def run() -> list[Figure]:
    """The figures; the two kinds take turns."""
    found: dict[str, list[tuple[list[float], float]]] = {"raw": [], "wrapped": []}
    for _ in range(_ROUNDS):
        for kind, rounds in found.items():
            rounds.append(_round(kind))
    p50 = {
        kind: quantile([ms for values, _ in rounds for ms in values], 0.5) for kind, rounds in found.items()
    }
    p99 = {
        kind: quantile([ms for values, _ in rounds for ms in values], 0.99) for kind, rounds in found.items()
    }
    cpu = {kind: min(cpu for _, cpu in rounds) for kind, rounds in found.items()}
    how = f"200 bytes, one in flight, {_ROUNDS} x {_CALLS} calls, two processes in turns"
    return [
        Figure("libp2p call, library as shipped, p50", p50["raw"], "ms", cpu_ms=cpu["raw"], how=how),
        Figure("libp2p call, guarded channel, p50", p50["wrapped"], "ms", cpu_ms=cpu["wrapped"], how=how),
        Figure(
            "libp2p call, guarded channel, p99", p99["wrapped"], "ms", how=f"as shipped {p99['raw']:.2f} ms"
        ),
        Figure("libp2p call, guarded / as shipped, p50", p50["wrapped"] / p50["raw"], "x", 1.5, 1.2, how=how),
    ]
