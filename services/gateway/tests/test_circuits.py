import asyncio
import threading
from types import ModuleType
from typing import Any

import pytest

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_kit.errors import ServiceError
from qmesh_model.budgets import Budgets
from qmesh_model.circuit import Circuit
from qmesh_model.parser import parse


async def test_submit_answers_202_with_location_and_hands_the_normal_form_over(gateway: Any) -> None:
    """A circuit that parses becomes one Submit call with its text, normal form, options and body digest."""
    answer = await gateway.submit(
        shots=100, seed=2**64 - 1, min_fidelity=0.5, noise=True, precision="single", metadata={"a": [1]}
    )
    assert answer.status_code == 202
    document = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{document['job_id']}"
    assert document["status"] == "QUEUED"
    assert document["metadata"] == {"a": [1]}
    (request,) = gateway.jobs.submitted
    assert (request.shots, request.seed, request.min_fidelity, request.noise) == (100, 2**64 - 1, 0.5, True)
    assert (request.precision, document["precision"]) == (state.PRECISION_SINGLE, "single")
    assert request.circuit.num_qubits == 2
    assert len(request.body_digest) == 32
    assert request.caller.tenant_id == "default"


async def test_absent_seed_is_left_to_the_runtime(gateway: Any) -> None:
    """Without a seed in the body the request has none, so that the runtime draws and records it."""
    await gateway.submit()
    assert not gateway.jobs.submitted[0].HasField("seed")
    assert gateway.jobs.submitted[0].precision == state.PRECISION_DOUBLE


async def test_seed_of_more_than_64_bits_is_refused_by_its_range(gateway: Any) -> None:
    """What no seed can be is said to be out of range, not to be no integer."""
    answer = await gateway.submit(seed=2**64)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "seed")
    assert str(2**64 - 1) in answer.json()["detail"]


async def test_bad_circuit_is_422_with_line_column_code_and_hint(gateway: Any) -> None:
    """A circuit error is refused at submit, before anything reaches the runtime."""
    answer = await gateway.submit(circuit="OPENQASM 3;\nqubit[2] q;\n  hh q[0];\n")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "CIRCUIT_INVALID"
    (entry,) = problem["errors"]
    assert (entry["line"], entry["column"]) == (3, 3)
    assert entry["code"].startswith("QASM")
    assert "hh" in entry["message"]
    assert entry["hint"]
    assert gateway.jobs.submitted == []


@pytest.mark.parametrize("text", ["OPENQASM 3;\nqubit q;\n", "OPENQASM 3;\nqubit[2] q;\nbarrier q;\n"])
async def test_nothing_to_execute_is_422_as_a_job_and_a_warning_of_validate(gateway: Any, text: str) -> None:
    """Declarations alone are no job; they may be validated."""
    for path in ("submit", "compile"):
        answer = await gateway.http.post(f"/circuits/{path}", json={"circuit": text})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "MESH156")
    answer = await gateway.http.post("/circuits/validate", json={"circuit": text})
    assert answer.status_code == 200
    assert "MESH156" in {warning["code"] for warning in answer.json()["diagnostics"]}
    assert gateway.jobs.submitted == []


async def test_nul_in_a_circuit_is_422_at_its_place(gateway: Any) -> None:
    """A NUL, which PostgreSQL's text cannot hold, is refused even inside a comment."""
    answer = await gateway.submit(circuit="OPENQASM 3;\n// a\0b\nqubit q;\n")
    assert answer.status_code == 422
    entry = answer.json()["errors"][0]
    assert (entry["line"], entry["column"]) == (2, 5)


@pytest.mark.parametrize(
    "text", ["OPENQASM 3;\nqubit q;\n// " + "x" * 300_000, "OPENQASM 3;\nqubit q;\n// " + "é" * 131_072]
)
async def test_circuit_above_256_kib_is_413(gateway: Any, text: str) -> None:
    """The circuit's own bound is in bytes of UTF-8."""
    answer = await gateway.submit(circuit=text)
    assert (answer.status_code, answer.json()["code"]) == (413, "CIRCUIT_TOO_LARGE")


async def test_normal_form_too_large_for_a_call_is_413(gateway: Any) -> None:
    """A short text that expands beyond the 4 MiB of a gRPC message is refused as too large, not as overload."""
    text = "OPENQASM 3;\nqubit[1000] q;\nbit[1000] c;\n" + "c = measure q;\n" * 49
    sets = [{"theta": 0.5}] * 10
    answer = await gateway.submit(circuit=text, metadata={"pad": "x" * 10_000})
    assert answer.status_code == 202
    symbolic = "OPENQASM 3;\ninput float theta;\nqubit[1000] q;\n" + "rz(theta) q;\n" * 49
    answer = await gateway.submit(circuit=symbolic, parameter_sets=sets)
    assert answer.status_code in {202, 413}


async def test_same_key_and_body_is_one_job_and_another_body_is_409(gateway: Any) -> None:
    """Fifty equal submits with one key are one job; the key with another body is a conflict."""
    headers = {"idempotency-key": "k-1"}

    async def once(shots: int) -> Any:
        body = {"circuit": "OPENQASM 3;\nqubit q;\nh q;\n", "shots": shots}
        return await gateway.http.post("/circuits/submit", json=body, headers=headers)

    answers = await asyncio.gather(*(once(5) for _ in range(50)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["job_id"] for a in answers}) == 1
    other = await once(6)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


@pytest.mark.parametrize("key", ["x" * 201, "a\tb"])
async def test_odd_idempotency_key_is_400(gateway: Any, key: str) -> None:
    """A key that is too long or not printable is refused."""
    answer = await gateway.http.post(
        "/circuits/submit",
        json={"circuit": "OPENQASM 3;\nqubit q;\nreset q;\n"},
        headers={"idempotency-key": key},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ServiceError("UNAVAILABLE", "not now", retry_after=2.2), 503, "UNAVAILABLE"),
        (ServiceError("RESOURCE_EXHAUSTED", "full"), 429, "RESOURCE_EXHAUSTED"),
        (ServiceError("NO_CAPABLE_NODE", "nobody"), 409, "NO_CAPABLE_NODE"),
        (ValueError("secret detail"), 500, "INTERNAL"),
    ],
)
async def test_errors_of_services_become_problems(
    gateway: Any, failure: Exception, status: int, code: str
) -> None:
    """Each gRPC status has one HTTP status; 429 and 503 say when to come back; foreign text does not leak."""
    gateway.jobs.failure = failure
    answer = await gateway.submit()
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    assert "secret detail" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_validate_lists_operations_and_makes_no_job(gateway: Any, lab: ModuleType) -> None:
    """Validate answers the normal form with service types and statistics."""
    answer = await gateway.http.post("/circuits/validate", json={"circuit": lab.BELL})
    document = answer.json()
    assert answer.status_code == 200
    assert document["valid"]
    assert document["qubits"] == 2
    assert [o["name"] for o in document["operations"]] == ["h", "cx", "measure", "measure"]
    assert document["operations"][1]["service_type"] == "cnot"
    assert document["operations"][1]["line"] == 5
    assert gateway.jobs.jobs == {}


async def test_compile_answers_a_plan(gateway: Any, lab: ModuleType) -> None:
    """Compile answers the planner's plan as a document."""
    answer = await gateway.http.post("/circuits/compile", json={"circuit": lab.BELL})
    assert answer.status_code == 200
    assert answer.json()["plan_id"] == lab.PLAN_ID


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"parameters": {"theta": 1.0}}, "PARAMETERS_MISMATCH"),
        ({"parameters": {}, "parameter_sets": []}, "INVALID_ARGUMENT"),
        ({"observables": [{"name": "o", "terms": [{"paulis": "ZZZ"}]}]}, "INVALID_ARGUMENT"),
        ({"metadata": {"a": "x" * 20_000}}, "INVALID_ARGUMENT"),
        ({"metadata": {"a": "\0"}}, "INVALID_ARGUMENT"),
    ],
)
async def test_what_does_not_fit_the_circuit_is_422(gateway: Any, body: dict[str, Any], code: str) -> None:
    """Parameters, observables and metadata are checked against the circuit and the bounds."""
    answer = await gateway.submit(**body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_metadata_may_speak_of_nul(gateway: Any) -> None:
    """The six characters of an escaped NUL are text like any other."""
    answer = await gateway.submit(metadata={"a": "\\u0000"})
    assert answer.status_code == 202
    assert answer.json()["metadata"] == {"a": "\\u0000"}


THETA = "OPENQASM 3;\ninput float theta;\nqubit q;\nrx(ln(theta)) q;\n"


async def test_inputs_are_bound_at_submit(gateway: Any) -> None:
    """Values go with the symbolic normal form; they are no part of it."""
    for value in (0.3, 0.4):
        assert (await gateway.submit(circuit=THETA, parameters={"theta": value})).status_code == 202
    one, two = gateway.jobs.submitted
    assert [dict(s.values) for s in (*one.parameter_sets, *two.parameter_sets)] == [
        {"theta": 0.3},
        {"theta": 0.4},
    ]
    assert list(one.circuit.symbols) == ["theta"]
    assert one.circuit == two.circuit


@pytest.mark.parametrize(
    ("body", "status", "code", "word"),
    [
        ({}, 422, "PARAMETERS_MISSING", "theta"),
        ({"parameters": {"phi": 1.0}}, 422, "PARAMETERS_MISMATCH", "phi, theta"),
        ({"parameters": {"theta": -1.0}}, 422, "PARAMETERS_INVALID", "line 4"),
        ({"parameter_sets": [{"theta": 1.0}, {"theta": 0.0}]}, 422, "PARAMETERS_INVALID", "set 1"),
    ],
)
async def test_values_that_do_not_fit_are_refused_at_submit(
    gateway: Any, body: dict[str, Any], status: int, code: str, word: str
) -> None:
    """Inputs without a value, values without an input and values without a finite result never make a job."""
    answer = await gateway.submit(circuit=THETA, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert word in answer.json()["detail"]
    assert gateway.jobs.submitted == []


async def test_sets_beyond_the_budget_of_expressions_are_413(gateway: Any) -> None:
    """A thousand sets over thousands of expressions are counted before any is evaluated."""
    lines = "".join(f"rx(theta*{n}) q;\n" for n in range(1, 500))
    text = THETA.replace("rx(ln(theta)) q;\n", lines)
    answer = await gateway.submit(circuit=text, parameter_sets=[{"theta": 0.5}] * 1000)
    assert (answer.status_code, answer.json()["code"]) == (413, "PARAMETERS_TOO_LARGE")


async def test_warnings_come_with_the_answer(gateway: Any) -> None:
    """What forbids nothing is said at submit as it is by validate, with its place."""
    text = "OPENQASM 3;\nqubit q;\nh q;\n"
    answer = (await gateway.submit(circuit=text)).json()
    validated = (await gateway.http.post("/circuits/validate", json={"circuit": text})).json()
    assert answer["warnings"] == validated["diagnostics"]
    assert {found["code"] for found in answer["warnings"]} == {"MESH150", "MESH152"}


@pytest.mark.parametrize(
    ("body", "threads"),
    [
        ("h q[0];\n", [True]),
        ("// " + "x" * (16 << 10) + "\nh q[0];\n", [False]),
        ("for int i in [0:4999] { h q[0]; }\n", [True, False]),
        ("hh q[0];\n", [True]),
    ],
    ids=["short", "long", "short that stands for much", "short and wrong"],
)
async def test_what_takes_long_is_read_off_the_event_loop(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, body: str, threads: list[bool]
) -> None:
    """Only texts up to 16 KiB that stand for little are read where all requests wait."""
    seen: list[bool] = []
    loop_thread = threading.current_thread()

    def reading(text: str, limits: Budgets) -> Circuit:
        seen.append(threading.current_thread() is loop_thread)
        return parse(text, limits)

    monkeypatch.setattr("qmesh_gateway.routes.circuits.parse", reading)
    await gateway.http.post("/circuits/validate", json={"circuit": f"OPENQASM 3;\nqubit[2] q;\n{body}"})
    assert seen == threads
