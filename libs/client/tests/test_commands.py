import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qmesh_client.cli import run
from qmesh_model.parser import parse

Command = Callable[..., tuple[int, str, str]]
BELL = "OPENQASM 3;\nqubit[2] q;\n"
PAIR = f"{BELL}bit[2] c;\nhadamard q[0];\ncnot q[0], q[1];\nc = measure q;\n"


@pytest.fixture
def circuit(tmp_path: Path) -> str:
    """A file with a circuit."""
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    return str(path)


@pytest.fixture
def seed(stub: Any, document: Any, event: Any) -> Any:
    """A mesh that runs the seed's job to its end."""
    found = document("seed") | {"last_sequence": 2}
    stub.say("POST", "/circuits/submit", found | {"status": "QUEUED", "result": None}, 202)
    stub.say("GET", f"/jobs/{found['job_id']}", found)
    stub.events(found["job_id"], event(1, "EXECUTING"), event(2, "COMPLETED"))
    return found


def test_submit_waits_and_shows_the_result(qmesh: Command, stub: Any, seed: Any, circuit: str) -> None:
    """The circuit and the options are sent; progress goes to stderr, the result to stdout."""
    options = ("--shots", "100", "--seed", "3", "--noise", "--precision", "single", "--idempotency-key", "k")
    code, out, err = qmesh("submit", circuit, *options)
    assert code == 0
    body = json.loads(stub.asked[0].body)
    assert body["circuit"] == BELL
    assert (body["shots"], body["seed"], body["noise"], body["strategy"]) == (100, 3, True, "cost")
    assert body["precision"] == "single"
    assert stub.asked[0].headers["idempotency-key"] == "k"
    assert out.startswith("COMPLETED")
    assert "EXECUTING" in err


def test_submit_gives_inputs_their_values(qmesh: Command, stub: Any, seed: Any, circuit: str) -> None:
    """A value is a number or an expression; what is neither, or is given twice, is refused before anything is sent."""
    assert qmesh("submit", circuit, "-p", "theta=-pi/4", "--parameter", "x=0.5", "--no-watch")[0] == 0
    assert json.loads(stub.asked[0].body)["parameters"] == {"theta": -math.pi / 4, "x": 0.5}
    asked = len(stub.asked)
    for words in (["x"], ["=1"], ["x="], ["x=1;"], ["x=y"], ["x=1/0"], ["x=1 2"], ["x=1", "-p", "x=2"]):
        code, _, err = qmesh("submit", circuit, "-p", *words)
        assert (code, err.startswith("error: ")) == (2, True), words
    assert len(stub.asked) == asked


def test_submit_says_what_warns(qmesh: Command, stub: Any, document: Any, circuit: str) -> None:
    """Warnings of the mesh are drawn on stderr like errors, and the job goes on."""
    warning = {"line": 2, "column": 1, "code": "MESH152", "message": "nothing is measured", "hint": ""}
    stub.say("POST", "/circuits/submit", document("seed") | {"warnings": [warning]}, 202)
    code, _, err = qmesh("submit", circuit, "--no-watch")
    assert code == 0
    assert err.startswith("MESH152: nothing is measured\n")


def test_submit_json_is_the_job_document_alone(qmesh: Command, stub: Any, seed: Any, circuit: str) -> None:
    """With --json standard output is one document: the job with its full result."""
    code, out, _ = qmesh("submit", circuit, "--json")
    assert code == 0
    assert json.loads(out) == seed
    assert stub.asked[-1].path.endswith("result_detail=full")


def test_no_watch_prints_the_id(qmesh: Command, seed: Any, circuit: str) -> None:
    """Without waiting, the id is what a script needs."""
    assert qmesh("submit", circuit, "--no-watch")[:2] == (0, seed["job_id"] + "\n")
    assert json.loads(qmesh("submit", circuit, "--no-watch", "--json")[1])["status"] == "QUEUED"


def test_dash_is_standard_input(
    qmesh: Command, stub: Any, seed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A circuit may come through a pipe."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BELL.encode())))
    assert qmesh("submit", "-", "--no-watch")[0] == 0
    assert json.loads(stub.asked[0].body)["circuit"] == BELL


@pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
def test_job_that_did_not_complete_is_exit_1_with_its_cause(
    qmesh: Command, stub: Any, document: Any, event: Any, circuit: str, status: str
) -> None:
    """submit, result and watch end with 1, and the cause is shown."""
    error = {"code": "NO_CAPABLE_NODE", "message": "no node offers qft"}
    found = document("seed") | {"status": status, "result": None, "error": error, "last_sequence": 1}
    stub.say("POST", "/circuits/submit", found, 202)
    stub.say("GET", f"/jobs/{found['job_id']}", found)
    stub.events(found["job_id"], event(1, status))
    code, out, _ = qmesh("submit", circuit)
    assert code == 1
    assert "no node offers qft" in out
    assert qmesh("result", found["job_id"])[0] == 1
    assert qmesh("watch", found["job_id"])[0] == 1


def test_circuit_error_of_the_mesh_is_drawn_with_line_and_caret(
    qmesh: Command, stub: Any, tmp_path: Path
) -> None:
    """A refused circuit shows code, place, source lines, caret and second place, and hint; exit 4."""
    path = tmp_path / "bad.qasm"
    path.write_text("OPENQASM 3;\n\thh q[0]; // é\n")
    entry = {"line": 2, "column": 2, "end_column": 4, "code": "QASM212", "message": "no gate", "hint": "h?"}
    entry |= {"related": [{"line": 1, "column": 1, "end_column": 9, "label": "here"}]}
    stub.refuse("POST", "/circuits/submit", 422, "CIRCUIT_INVALID", errors=[entry])
    code, out, err = qmesh("submit", str(path))
    assert (code, out) == (4, "")
    lines = err.splitlines()
    assert lines[0] == "QASM212: no gate"
    assert lines[1].endswith(f"{path}:2:2")
    assert lines[3:7] == ["1 | OPENQASM 3;", "  | -------- here", "2 |  hh q[0]; // é", "  |  ^^"]
    assert lines[7].strip() == "= hint: h?"
    assert json.loads(qmesh("submit", str(path), "--json")[1])["errors"] == [entry]


def test_validate_draws_a_circuit_and_its_mistakes_without_a_mesh(qmesh: Command, tmp_path: Path) -> None:
    """A good circuit is drawn with its figures; a bad one with its carets, exit 4; nothing is asked of a mesh."""
    good, bad = tmp_path / "good.qasm", tmp_path / "bad.qasm"
    good.write_text(PAIR)
    bad.write_text(PAIR.replace("q[0], q[1]", "q[0], q[7]"))
    code, out, err = qmesh("validate", str(good))
    assert code == 0
    assert "valid" in out
    assert "●" in out
    assert "⊕" in out
    assert "clifford: yes" in out
    document = json.loads(qmesh("validate", str(good), "--json")[1])
    assert document["valid"]
    assert [op["depends_on"] for op in document["operations"]][:2] == [[], [0]]
    code, out, err = qmesh("validate", str(bad))
    assert (code, out) == (4, "")
    assert "QASM215" in err
    assert "^" in err
    assert json.loads(qmesh("validate", str(bad), "--json")[1])["diagnostics"][0]["related"]


def test_validate_draws_idling_with_its_unit(qmesh: Command, tmp_path: Path) -> None:
    """A delay is drawn as it was written, in the unit that suits it."""
    path = tmp_path / "idle.qasm"
    path.write_text(
        "OPENQASM 3.0;\nqubit q;\ndelay[1us] q;\ndelay[1500ns] q;\ndelay[0.2ns] q;\ndelay[2s] q;\n"
    )
    out = qmesh("validate", str(path))[1]
    assert [text for text in ("DELAY 1us", "DELAY 1.5us", "DELAY 0.2ns", "DELAY 2s") if text not in out] == []


def test_validate_writes_the_normal_form_as_openqasm(qmesh: Command, tmp_path: Path) -> None:
    """What `--openqasm` prints is read back as the same circuit."""
    path = tmp_path / "loop.qasm"
    path.write_text('OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\nfor int i in [0:2] { h q[i]; }\n')
    code, out, _ = qmesh("validate", str(path), "--openqasm")
    assert code == 0
    assert parse(out).digest == parse(path.read_text()).digest


@pytest.mark.parametrize(
    ("line", "column", "end"), [(9, 1, 2), (1, 40, 41), (1, 1, 900), (0, 0, 0), (2, 1, 1)]
)
def test_places_beyond_the_text_are_drawn_all_the_same(
    qmesh: Command, stub: Any, circuit: str, line: int, column: int, end: int
) -> None:
    """A diagnostic about the end of the text, or an odd one, never breaks the drawing."""
    entry = {"line": line, "column": column, "end_column": end, "code": "X", "message": "odd", "hint": ""}
    stub.refuse("POST", "/circuits/submit", 422, "CIRCUIT_INVALID", errors=[entry])
    code, _, err = qmesh("submit", circuit)
    assert code == 4
    assert "^" in err


@pytest.mark.parametrize(
    "words",
    [
        ("submit",),
        ("submit", "/nonexistent.qasm"),
        ("submit", "/"),
        ("submit", "x", "--strategy", "magic"),
        ("submit", "x", "--shots", "0"),
        ("submit", "x", "--min-fidelity", "2"),
        ("nonsense",),
        ("jobs", "--limit", "x"),
        ("--url", "ftp://x", "jobs"),
        ("--url", "http://", "jobs"),
    ],
)
def test_wrong_use_is_exit_2_in_words(qmesh: Command, words: tuple[str, ...]) -> None:
    """A command line that makes no sense is a sentence and exit 2, never a stack."""
    code, out, err = qmesh(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_bytes_that_are_no_text_are_exit_2(qmesh: Command, tmp_path: Path) -> None:
    """A binary file is named as such."""
    path = tmp_path / "x.qasm"
    path.write_bytes(b"\xff\xfe")
    code, _, err = qmesh("submit", str(path))
    assert code == 2
    assert "not UTF-8" in err


def test_no_mesh_is_exit_3_with_what_to_do(qmesh: Command) -> None:
    """When nobody answers, the error says where and how to go on."""
    code, out, err = qmesh("--url", "http://127.0.0.1:1", "jobs")
    assert (code, out) == (3, "")
    assert "http://127.0.0.1:1" in err
    assert "qmesh up" in err


def test_something_else_at_the_address_is_exit_3(qmesh: Command, stub: Any) -> None:
    """A server that is no mesh is told apart from one that is."""
    stub.raw("GET", "/jobs", b"<html>", "text/html")
    code, _, err = qmesh("jobs")
    assert code == 3
    assert "not a mesh" in err


def test_refusal_is_exit_4_with_code_and_request(qmesh: Command, stub: Any) -> None:
    """A 4xx is shown with its code and request id, and as one document with --json."""
    stub.refuse("POST", "/jobs/j/cancel", 409, "ILLEGAL_TRANSITION")
    code, out, err = qmesh("cancel", "j")
    assert (code, out) == (4, "")
    assert "ILLEGAL_TRANSITION: said no" in err
    assert "r-1" in err
    assert json.loads(qmesh("cancel", "j", "--json")[1])["code"] == "ILLEGAL_TRANSITION"


def test_key_is_sent_and_its_absence_explained(
    qmesh: Command, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QMESH_API_KEY is the bearer; a 401 names the variable; a key that no header can have is not repeated."""
    stub.refuse("GET", "/jobs", 401, "UNAUTHENTICATED")
    code, _, err = qmesh("jobs")
    assert code == 4
    assert "QMESH_API_KEY" in err
    monkeypatch.setenv("QMESH_API_KEY", "hunter2hunter2")
    qmesh("jobs")
    assert stub.asked[-1].headers["authorization"] == "Bearer hunter2hunter2"
    monkeypatch.setenv("QMESH_API_KEY", "hunter2\né")
    code, _, err = qmesh("jobs")
    assert code == 2
    assert "hunter2" not in err


def test_watch_resumes_a_broken_stream(qmesh: Command, stub: Any, document: Any, event: Any) -> None:
    """After a break the stream is asked for from the last event that was seen; every event is shown once."""
    stub.events("j", event(1, "QUEUED"), event(2, "EXECUTING"), broken=True)
    stub.events("j", event(3, "EXECUTING", "replanned"), event(4, "COMPLETED"))
    stub.say("GET", "/health", {"status": "ok"})
    stub.say("GET", "/jobs/j", document("seed") | {"status": "EXECUTING", "last_sequence": 2})
    stub.say("GET", "/jobs/j", document("seed") | {"status": "COMPLETED", "last_sequence": 4})
    code, out, err = qmesh("watch", "j", "--json")
    assert code == 0
    assert [e["sequence"] for e in json.loads(out)["events"]] == [1, 2, 3, 4]
    assert "replanned" in err
    assert [a.path for a in stub.asked if "events" in a.path][1].endswith("after=2")


def test_result_of_a_running_job_says_how_to_follow_it(qmesh: Command, stub: Any, document: Any) -> None:
    """A result that is not there yet is exit 1 with the command that waits for it."""
    stub.say("GET", "/jobs/j", document("seed") | {"status": "EXECUTING", "result": None})
    code, _, err = qmesh("result", "j")
    assert code == 1
    assert "qmesh watch j" in err


def test_plan_takes_a_plan_or_a_job(qmesh: Command, stub: Any) -> None:
    """The id of a job stands for its last plan; scores are shown in units of the score."""
    score = {
        "total": 54_600_000,
        "latency": 4_600_000,
        "failure_risk": 0,
        "entanglement": 50_000_000,
        "load": 0,
    }
    found = {
        "plan_id": "p",
        "strategy": "cost",
        "fragments": [{}],
        "blocks": [{"block_id": 0, "stage": 0, "fragments": [0]}],
        "assignments": [{"candidates": [{"node_id": "A", "score": score}, {"node_id": "B", "score": score}]}],
        "ebits": {"total": 1},
        "predicted_fidelity": 0.9,
        "warnings": [],
    }
    stub.say("GET", "/plans/p", found)
    stub.say("GET", "/jobs/j", {"plan_id": "p"})
    stub.say("GET", "/services", {"services": [{"node_id": "A", "node_name": "alice"}]})
    for some_id in ("p", "j"):
        code, out, _ = qmesh("plan", some_id)
        assert code == 0
        assert "alice" in out
        assert "0.0546" in out
        assert json.loads(qmesh("plan", some_id, "--json")[1]) == found


def test_lists_are_shown_and_emitted(qmesh: Command, stub: Any, document: Any, circuit: str) -> None:
    """jobs, job, services, topology and validate have a view and a document."""
    job = document("seed")
    offer = {
        "service_type": "measurement_feedforward",
        "node_name": "alice",
        "node_id": "A",
        "fidelity": 0.99,
    }
    offer |= {"qubit_min": 1, "qubit_max": 1, "availability": "available"}
    peer: dict[str, object] = {
        "peer_id": "A",
        "name": "alice",
        "health_status": "healthy",
        "trust_tier": "platform_managed",
    }
    peer |= {"capacity": {"data_qubits": 6}, "services": [offer]}
    link = {"a": "A", "b": "B", "rtt_ms": None, "pair_fidelity": 0.97, "pair_rate_hz": 250.0}
    stub.say("GET", "/jobs", {"jobs": [job], "next_cursor": None})
    stub.say("GET", "/jobs/j", job)
    stub.say("GET", "/services", {"snapshot_id": "5", "services": [offer]})
    stub.say("GET", "/discovery/topology", {"peers": [peer], "links": [link]})
    shown = {
        ("jobs",): job["job_id"],
        ("job", "j"): "fragments 7/7",
        ("services",): "measurement_feedforward",
        ("topology",): "not measured",
        ("validate", circuit): "valid",
    }
    for words, text in shown.items():
        code, out, _ = qmesh(*words)
        assert code == 0
        assert text in out
        assert json.loads(qmesh(*words, "--json")[1])


def test_default_address_is_that_of_the_local_mesh(
    stub: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without an address the local mesh's file is read."""
    monkeypatch.delenv("QMESH_URL", raising=False)
    monkeypatch.setenv("QMESH_HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mesh.json").write_text(json.dumps({"gateway_url": stub.url}))
    stub.say("GET", "/jobs", {"jobs": [], "next_cursor": None})
    assert run(["jobs"]) == 0
    assert "no jobs" in capsys.readouterr().out
