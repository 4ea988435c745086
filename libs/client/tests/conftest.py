"""A stand-in for the gateway: real HTTP, scripted answers, a record of what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qmesh_client.cli import run

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Stub:
    """Answers by method and path (without the query); several are given one by one, the last for ever."""

    url: str
    answers: dict[tuple[str, str], list[tuple[int, bytes, str]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def say(self, method: str, path: str, document: Any, status: int = 200) -> None:
        """Adds a JSON answer."""
        kind = "application/problem+json" if status >= 400 else "application/json"
        self.raw(method, path, json.dumps(document).encode(), kind, status)

    def raw(self, method: str, path: str, body: bytes, kind: str, status: int = 200) -> None:
        """Adds an answer; a negative status breaks the connection after the body."""
        self.answers.setdefault((method, f"/api/v1{path}"), []).append((status, body, kind))

    def refuse(self, method: str, path: str, status: int, code: str, **more: Any) -> None:
        """Adds a problem document."""
        problem = {"status": status, "code": code, "detail": "said no", "errors": [], "request_id": "r-1"}
        self.say(method, path, problem | more, status)

    def events(self, job_id: str, *events: dict[str, Any], broken: bool = False) -> None:
        """Adds a stream of events."""
        frames = "".join(f"id: {e['sequence']}\nevent: job\ndata: {json.dumps(e)}\n\n" for e in events)
        self.raw("GET", f"/jobs/{job_id}/events", frames.encode(), "text/event-stream", -1 if broken else 200)


_MISSING = (
    404,
    b'{"code": "NOT_FOUND", "detail": "there is none", "status": 404}',
    "application/problem+json",
)


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.asked.append(Asked(self.path, self.rfile.read(length), headers))
            answers = stub.answers.get((self.command, self.path.partition("?")[0]), [_MISSING])
            status, body, kind = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(max(status, 200))
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body) + (100 if status < 0 else 0)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server that knows nothing yet."""
    made = Stub("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def qmesh(
    stub: Stub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command against the stand-in: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("QMESH_API_KEY", raising=False)

    def command(*words: str) -> tuple[int, str, str]:
        code = run([*(["--url", stub.url] if "--url" not in words else []), *words])
        said = capsys.readouterr()
        return int(code), said.out, said.err

    return command


@pytest.fixture
def document() -> Callable[[str], dict[str, Any]]:
    """A stored job document."""

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
        return found

    return read


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    """Makes an event document."""

    def make(sequence: int, status: str, kind: str = "status", **more: Any) -> dict[str, Any]:
        progress = {"total_fragments": 2, "completed_fragments": 1, "active_fragments": 1, "ratio": 0.5}
        plain = {"fragment": None, "node": None, "error": None, "detail": None, "at": "2026-01-05T12:00:00Z"}
        head = {"sequence": sequence, "job_id": "j", "type": kind, "status": status, "progress": progress}
        return head | plain | more

    return make
