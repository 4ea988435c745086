"""Jobs in the background of what is done to a mesh."""

from __future__ import annotations

import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

from tests.cluster.forward import Client

CIRCUIT = """OPENQASM 3;
qubit[8] q;
bit[8] c;
h q[0];
cx q[0], q[1];
cx q[1], q[2];
cx q[2], q[3];
cx q[3], q[4];
cx q[4], q[5];
cx q[5], q[6];
cx q[6], q[7];
c = measure q;
"""
"""Eight qubits: more than one node holds, so that states move."""


class Load:
    """Submits jobs one after another until it is told to stop; a context manager.

    Attributes:
        jobs: ids of what was accepted.
    """

    def __init__(self, client: Client, pause: float = 0.15) -> None:
        """Takes a client, and the seconds between two jobs."""
        self.jobs: list[str] = []
        self._client = client
        self._pause = pause
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._submit, name="load")

    def __enter__(self) -> Self:
        """Begins."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Submits no more."""
        self._stopping.set()
        self._thread.join(120)
        if self._failure is not None and error is None:
            raise self._failure

    def _submit(self) -> None:
        try:
            while not self._stopping.is_set():
                key = str(uuid.uuid4())
                self.jobs.append(self._client.submit(CIRCUIT, key, seed=5, shots=200, timeout_s=120))
                self._stopping.wait(self._pause)
        except BaseException as error:  # noqa: BLE001 - it is raised where the load is awaited
            self._failure = error

    def settle(self) -> list[dict[str, Any]]:
        """Every job at its end."""
        return [self._client.wait(job) for job in self.jobs]

    def flow(self, count: int = 3) -> None:
        """Waits until some more jobs were accepted."""
        wanted, deadline = len(self.jobs) + count, time.monotonic() + 60
        while len(self.jobs) < wanted and self._failure is None:
            assert time.monotonic() < deadline, "no jobs are accepted"
            time.sleep(0.05)
