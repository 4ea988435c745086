"""The command in every image that a kubelet runs while a container starts: it waits, and says what is missing."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmesh_kit.metrics import Metrics
from qmesh_kit.probes import ProbeServer, Readiness

READY = Path(__file__).resolve().parents[2] / "deploy" / "docker" / "ready"


@pytest.fixture
def readiness() -> Readiness:
    """What the probes tell."""
    return Readiness()


@pytest.fixture
def port(readiness: Readiness) -> Iterator[int]:
    """Where a service's own probes listen."""
    server = ProbeServer("127.0.0.1:0", Metrics("ready-test"), readiness)
    server.start()
    yield int(server.address.rpartition(":")[2])
    server.stop()


def _ready(port: int, *words: str) -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "PROBES_PORT": str(port)}
    done = subprocess.run(
        [str(READY), *words], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_it_says_yes(port: int, readiness: Readiness) -> None:
    """A service that takes work is ready."""
    readiness.on()
    assert _ready(port) == (0, "ready\n")


def test_it_says_what_is_missing(port: int, readiness: Readiness) -> None:
    """Every dependency that is away is named, with its reason."""
    readiness.on()
    readiness.lost("postgres", "connection refused")
    readiness.lost("nats", "no such host")
    assert _ready(port) == (1, "postgres: connection refused; nats: no such host\n")


def test_it_waits_as_long_as_it_is_told(port: int, readiness: Readiness) -> None:
    """A service that becomes ready in time is ready; nothing is asked for after that."""
    timer = threading.Timer(0.5, readiness.on)
    timer.start()
    assert _ready(port, "20") == (0, "ready\n")
    timer.join()
    readiness.off("draining")
    begun = time.monotonic()
    assert _ready(port, "2") == (1, "draining\n")
    assert time.monotonic() - begun > 0.9  # bash counts whole seconds


def test_nobody_listens() -> None:
    """Before the process listens it says so."""
    assert _ready(9) == (1, "the process does not listen yet\n")
