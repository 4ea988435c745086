import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from qmesh_local.readiness import plans_over


def _plan(candidates: int, excluded: int) -> dict[str, Any]:
    return {"assignments": [{"candidates": [{}] * candidates, "excluded": {"NO_SERVICE": excluded}}]}


@pytest.fixture
def gateway() -> Iterator[tuple[int, list[dict[str, Any]], list[str]]]:
    """A stand-in that answers one document after another; the keys that it was shown."""
    answers: list[dict[str, Any]] = []
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers.get("authorization", ""))
            body = json.dumps(answers.pop(0) if len(answers) > 1 else answers[0]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1], answers, keys
    server.shutdown()
    thread.join()
    server.server_close()


async def test_mesh_is_ready_when_the_planner_has_considered_every_node(gateway: Any) -> None:
    """A refusal, too few nodes and excluded ones: only when all are counted the mesh plans over all its nodes."""
    port, answers, keys = gateway
    answers += [{"code": "NO_CAPABLE_NODE"}, _plan(2, 0), _plan(3, 0), _plan(4, 2)]
    assert await plans_over(port, 6, 5.0)
    assert len(keys) == 4


async def test_waiting_for_nodes_ends(gateway: Any) -> None:
    """A node that never comes does not keep the mesh from being used."""
    port, answers, _ = gateway
    answers.append(_plan(3, 0))
    assert not await plans_over(port, 4, 0.2)


async def test_nobody_at_the_port_is_no_plan(free_port: int) -> None:
    """A gateway that does not answer is waited for."""
    assert not await plans_over(free_port, 1, 0.1)


async def test_the_gateways_key_is_used(gateway: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Where the gateway is given a bootstrap key, by value or by file, the supervisor has it, too."""
    port, answers, keys = gateway
    answers.append(_plan(1, 0))
    monkeypatch.setenv("QMESH_GATEWAY__API_KEY", "by-value")
    assert await plans_over(port, 1, 5.0)
    monkeypatch.delenv("QMESH_GATEWAY__API_KEY")
    (tmp_path / "key").write_text("by-file\n")
    monkeypatch.setenv("QMESH_GATEWAY__API_KEY_FILE", str(tmp_path / "key"))
    assert await plans_over(port, 1, 5.0)
    assert keys == ["Bearer by-value", "Bearer by-file"]
