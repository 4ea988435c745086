import json
from typing import Any

import pytest

CIRCUIT = b'"circuit": "OPENQASM 3;\\nqubit q;\\n"'
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "JSON_INVALID"),
        (b"nul", 400, "JSON_INVALID"),
        (b"[]", 422, "INVALID_ARGUMENT"),
        (b"3", 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "shots": NaN}', 400, "JSON_INVALID"),
        (b"{" + CIRCUIT + b', "timeout_s": Infinity}', 400, "JSON_INVALID"),
        (b"{" + CIRCUIT + b', "timeout_s": 1e999}', 400, "JSON_INVALID"),
        (b"{" + CIRCUIT + b', "shots": ' + b"9" * 4000 + b"}", 400, "JSON_INVALID"),
        (b"{" + CIRCUIT + b', "shots": 18446744073709551616}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "shots": true}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "shots": "12"}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "shots": 1.0}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "shots": -0}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "shots": 1000001}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "seed": -1}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "min_fidelity": 1.5}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "strategy": "magic"}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b', "tenant_id": "other"}', 422, "INVALID_ARGUMENT"),
        (b"{" + CIRCUIT + b", " + CIRCUIT + b"}", 400, "JSON_DUPLICATE_NAME"),
        (b"{" + CIRCUIT + b', "shots": 1, "sh\\u006fts": 2}', 400, "JSON_DUPLICATE_NAME"),
        (b"{" + CIRCUIT + b', "metadata": {"a": {"b": 1, "b": 2}}}', 400, "JSON_DUPLICATE_NAME"),
        (b'{"circuit": "\\ud800"}', 400, "JSON_INVALID"),
        (b'{"circuit": "\xff"}', 400, "JSON_INVALID"),
        (b"\xef\xbb\xbf{" + CIRCUIT + b"}", 400, "JSON_INVALID"),
        (('{"circuit": "x"}').encode("utf-16"), 400, "JSON_INVALID"),
        (b"[" * 100_000, 400, "JSON_DEPTH"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, 400, "JSON_DEPTH"),
        (b"{" + CIRCUIT + b', "metadata": ' + b'{"a":' * 32 + b"1" + b"}" * 32 + b"}", 400, "JSON_DEPTH"),
        (b'{"circuit": "x\\u202ey"}', 422, "CIRCUIT_INVALID"),
        (b'{"circuit": ""}', 422, "CIRCUIT_INVALID"),
        (b'{"circuit": null}', 422, "INVALID_ARGUMENT"),
        (b"{}", 422, "INVALID_ARGUMENT"),
        (
            b"{" + CIRCUIT + b', "observables": [{"name": "a\\u0000", "terms": [{"paulis": "Z"}]}]}',
            422,
            "INVALID_ARGUMENT",
        ),
    ],
)
async def test_odd_body_is_a_typed_4xx(gateway: Any, raw: bytes, status: int, code: str) -> None:
    """No body, however odd, is a 5xx or reaches the runtime."""
    answer = await gateway.http.post("/circuits/submit", content=raw, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.jobs.submitted == []


async def test_deepest_allowed_body_is_taken(gateway: Any) -> None:
    """A body that nests 32 deep is taken, so the bound is where it is said to be."""
    metadata: Any = 1
    for _ in range(31):
        metadata = {"a": metadata}
    assert (await gateway.submit(metadata=metadata)).status_code == 202


async def test_escaped_quotes_do_not_slow_the_reader(gateway: Any) -> None:
    """Half a megabyte of escaped quotes is refused at once: the time to read a body grows linearly."""
    raw = b'["' + b'\\"' * 450_000
    answer = await gateway.http.post("/circuits/submit", content=raw, headers=JSON, timeout=2.0)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_other_media_types_are_415(gateway: Any, headers: dict[str, str]) -> None:
    """Only plain UTF-8 JSON is read."""
    answer = await gateway.http.post("/circuits/submit", content=b"{" + CIRCUIT + b"}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_errors_do_not_repeat_values(gateway: Any) -> None:
    """A refused value is named by its field only."""
    answer = await gateway.http.post(
        "/circuits/submit",
        content=json.dumps({"circuit": "x", "shots": "hunter2"}),
        headers=JSON,
    )
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert answer.json()["errors"][0]["field"] == "shots"
