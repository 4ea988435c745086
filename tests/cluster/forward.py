"""A port-forward to the gateway that comes back when its pod goes, and a client that bears it."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from qmesh_client.mesh import TERMINAL, Mesh, MeshRefusedError, MeshUnreachableError

_UNAVAILABLE = 503


class Forward:
    """`kubectl port-forward` to a Service, started again for as long as it is wanted; a context manager."""

    def __init__(self, namespace: str, service: str, port: int) -> None:
        """Takes the Service and its port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = [
            "kubectl",
            "-n",
            namespace,
            "port-forward",
            f"service/{service}",
            f"{self.port}:{port}",
        ]
        self._wanted = True
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="port-forward")

    def __enter__(self) -> Self:
        """Begins."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it."""
        self._wanted = False
        if self._process is not None:
            self._process.terminate()
        self._thread.join(10)

    def _keep(self) -> None:
        while self._wanted:
            with subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                self._process = process
                assert process.stderr is not None
                for line in process.stderr:
                    if b"lost connection" in line or b"error" in line.lower():
                        break  # it would keep the port and lead nowhere
                process.terminate()
            time.sleep(0.2)


class Client:
    """Submits with an idempotency key and waits, whatever part of the mesh is away for a moment."""

    def __init__(self, url: str, key: str, patience: float = 60.0) -> None:
        """Takes address and API key."""
        self.mesh = Mesh(url, key, timeout=15)
        self._patience = patience

    def patiently[T](self, step: Callable[[], T]) -> T:
        """Repeats a step that is refused for the moment, or does not get through."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return step()
            except MeshUnreachableError:
                if time.monotonic() > deadline:
                    raise
            except MeshRefusedError as error:
                if error.status != _UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def submit(self, circuit: str, key: str, **options: Any) -> str:
        """The id of a job."""
        found = self.patiently(lambda: self.mesh.submit(circuit, idempotency_key=key, **options))
        return str(found["job_id"])

    def wait(self, job_id: str, seconds: float = 120.0) -> dict[str, Any]:
        """A job at its end."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.patiently(lambda: self.mesh.job(job_id))
            if job["status"] in TERMINAL:
                return job
            assert time.monotonic() < deadline, f"job {job_id} is {job['status']} after {seconds:g} s"
            time.sleep(0.2)

    def counts(self, circuit: str, key: str, **options: Any) -> dict[str, int]:
        """Counts of a job that completes."""
        job = self.wait(self.submit(circuit, key, **options))
        assert job["status"] == "COMPLETED", job["error"]
        found: dict[str, int] = job["result"]["quantum_result"]["counts"]
        return found
