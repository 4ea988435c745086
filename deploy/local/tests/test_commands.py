import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qmesh_client.cli import app, run
from qmesh_local.commands import register
from qmesh_local.layout import Layout

register(app)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def qmesh(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs a command in a home of its own: exit code, standard output, standard error."""
    monkeypatch.setenv("QMESH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: str) -> tuple[int, str, str]:
        code = run(words)
        said = capsys.readouterr()
        return int(code), said.out, said.err

    return command


def test_status_without_a_mesh_says_how_to_start_one(qmesh: Command) -> None:
    """Nothing runs: exit 3, and with --json one document that says so."""
    code, out, err = qmesh("status")
    assert (code, out) == (3, "")
    assert "qmesh up" in err
    code, out, _ = qmesh("status", "--json")
    assert code == 3
    assert json.loads(out) == {"state": "stopped", "gateway_url": None, "processes": []}


def test_down_without_a_mesh_is_done(qmesh: Command) -> None:
    """What is asked for is so already."""
    code, _, err = qmesh("down")
    assert code == 0
    assert "no mesh runs" in err


@pytest.mark.parametrize("words", [("stop", "alice"), ("start", "alice")])
def test_one_process_needs_a_mesh(qmesh: Command, words: tuple[str, ...]) -> None:
    """`stop` and `start` of a process cannot reach a mesh that is not there."""
    assert qmesh(*words)[0] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up", "--nodes", "0"), "--nodes"),
        (("up", "--nodes", "2", "--qubits", "0"), "--qubits"),
        (("up", "--topology", "/nonexistent/mesh.toml"), "mesh.toml"),
        (("up", "--nodes", "2", "--topology", "x"), "not both"),
        (("up", "--detach", "--once", "x"), "one of"),
        (("up", "--once", "/nonexistent/x.qasm"), "x.qasm"),
    ],
)
def test_wrong_use_is_said_before_anything_starts(qmesh: Command, words: tuple[str, ...], said: str) -> None:
    """Options that make no sense are exit 2 with the reason."""
    code, _, err = qmesh(*words)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("port", ["abc", "0", "70000", "²"])
def test_a_port_that_is_none_is_exit_78_by_name(
    qmesh: Command, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """A bad gateway port is configuration, named but not repeated."""
    monkeypatch.setenv("QMESH_GATEWAY__PORT", port)
    code, _, err = qmesh("up")
    assert code == 78
    assert "QMESH_GATEWAY__PORT" in err


def test_taken_gateway_port_names_the_owner(
    qmesh: Command, monkeypatch: pytest.MonkeyPatch, listener: int
) -> None:
    """A port that something else has is an error at once, with its owner and the way out."""
    monkeypatch.setenv("QMESH_GATEWAY__PORT", str(listener))
    code, _, err = qmesh("up", "--detach")
    assert code == 1
    assert f"port {listener} is taken by process" in err
    assert "QMESH_GATEWAY__PORT" in err


def test_logs_say_what_there_is(qmesh: Command, tmp_path: Path) -> None:
    """The end of a log is printed; a name without a log is refused with the names that have one."""
    layout = Layout(tmp_path / "home")
    layout.make()
    layout.log("alice").write_text("".join(f"line {n}\n" for n in range(100)))
    code, out, _ = qmesh("logs", "alice", "-n", "2")
    assert (code, out) == (0, "line 98\nline 99\n")
    code, _, err = qmesh("logs", "bob")
    assert code == 2
    assert "alice" in err


def _document() -> dict[str, Any]:
    names = ["supervisor", "gateway", "alice"]
    return {
        "state": "running",
        "gateway_url": "http://127.0.0.1:8080",
        "processes": [
            {
                "name": name,
                "pid": 7,
                "state": "running",
                "ports": {"fabric": "40001"},
                "rss_bytes": 1 << 20,
                "restarts": 0,
                "started_at": "2026-01-05T12:00:00Z",
                "ready_in": 1.0,
                "reason": "",
            }
            for name in names
        ],
    }


def test_status_shows_every_process_in_eighty_columns(
    qmesh: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has one line a process and fits a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("qmesh_local.commands.ask", lambda *_: {"ok": True, "status": _document()})
    code, out, _ = qmesh("status")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    for words in ("supervisor", "gateway", "alice", "fabric 40001", "http://127.0.0.1:8080", "1 MiB"):
        assert words in out
    code, out, _ = qmesh("status", "--json")
    assert json.loads(out) == _document()


def test_second_up_says_that_it_is_running(qmesh: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting twice is no error; starting twice with a circuit is, because its mesh would be stopped."""
    monkeypatch.setattr("qmesh_local.commands.ask", lambda *_, **__: {"ok": True, "status": _document()})
    code, _, err = qmesh("up", "--detach")
    assert code == 0
    assert "already runs" in err
    assert qmesh("up", "--once", "x.qasm")[0] == 1
