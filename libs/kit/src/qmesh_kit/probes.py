"""Probes and metrics over HTTP, from a thread of its own, on a port or a Unix socket."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from qmesh_kit.metrics import Metrics


@dataclass(slots=True)
class Readiness:
    """Whether the process takes work; liveness never asks a dependency."""

    ready: bool = False
    reason: str = "starting"
    missing: dict[str, str] = field(default_factory=dict)

    def on(self) -> None:
        """Takes work."""
        self.ready, self.reason = True, ""

    def off(self, reason: str) -> None:
        """Takes no new work."""
        self.ready, self.reason = False, reason

    def lost(self, dependency: str, why: str) -> None:
        """Takes no work for as long as a dependency is away."""
        self.missing = self.missing | {dependency: why}

    def found(self, dependency: str) -> None:
        """The dependency is there."""
        self.missing = {name: why for name, why in self.missing.items() if name != dependency}

    def objection(self) -> str:
        """Why no work is taken; empty when it is."""
        missing = [f"{name}: {why}" for name, why in self.missing.items()]
        return "; ".join(missing) or ("" if self.ready else self.reason)


class _UnixServer(ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        path = Path(str(self.server_address))
        path.unlink(missing_ok=True)
        self.socket.bind(str(path))
        path.chmod(0o600)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = self.socket.accept()
        return connection, ("unix", 0)


class ProbeServer:
    """Serves /metrics, /healthz and /readyz."""

    def __init__(self, address: str, metrics: Metrics, readiness: Readiness) -> None:
        """Takes `host:port` or `unix:/path`."""
        handler = _handler(metrics, readiness)
        self._server: HTTPServer
        if address.startswith("unix:"):
            self._server = _UnixServer(address.removeprefix("unix:"), handler)  # type: ignore[arg-type] # a path
        else:
            host, _, port = address.rpartition(":")
            self._server = ThreadingHTTPServer((host, int(port)), handler)
        self._server.timeout = 5
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        bound = self._server.server_address
        return f"unix:{bound}" if isinstance(bound, str) else f"{bound[0]!s}:{bound[1]}"

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()


def _handler(metrics: Metrics, readiness: Readiness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, metrics.render(), "text/plain; version=0.0.4")
            elif self.path == "/healthz":
                self._answer(200, b"ok\n", "text/plain")
            elif self.path == "/readyz":
                objection = readiness.objection()
                text = (objection or "ready").replace("\n", " ")
                self._answer(503 if objection else 200, text.encode() + b"\n", "text/plain")
            else:
                self._answer(404, b"not found\n", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the library's names
            return

    return Handler
