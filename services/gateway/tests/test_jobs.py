import base64
import uuid
from types import ModuleType
from typing import Any

import orjson
import pytest

from qmesh.events.v1 import events_pb2 as events


async def test_job_has_the_documented_fields_and_its_result(gateway: Any) -> None:
    """The job document carries status, plan, error, progress, times and, when asked for, the result."""
    job_id = (await gateway.submit()).json()["job_id"]
    stored = gateway.jobs.jobs[job_id]
    stored.status = events.JOB_STATUS_FAILED
    stored.plan_ids.extend(["p1", "p2"])
    stored.error.code, stored.error.message = "NO_CAPABLE_NODE", "no node offers qft"
    stored.progress.total, stored.progress.completed = 4, 1
    stored.result_json = b'{"quantum_result": {"counts": {"0": 1}}}'
    stored.created_at.FromJsonString("2026-01-05T12:00:00Z")
    document = (await gateway.http.get(f"/jobs/{job_id}")).json()
    assert document["status"] == "FAILED"
    assert (document["plan_id"], document["plans"]) == ("p2", ["p1", "p2"])
    assert document["error"] == {"code": "NO_CAPABLE_NODE", "message": "no node offers qft"}
    assert document["progress"]["ratio"] == 0.25
    assert document["created_at"] == "2026-01-05T12:00:00Z"
    assert document["result"]["quantum_result"]["counts"] == {"0": 1}
    bare = await gateway.http.get(f"/jobs/{job_id}", params={"result_detail": "none"})
    assert bare.json()["result"] is None


async def test_a_result_may_be_larger_than_a_message(gateway: Any) -> None:
    """Counts of 300,000 bit strings: 9 MB, where a message of the mesh carries 4."""
    job_id = (await gateway.submit()).json()["job_id"]
    counts = {f"{number:024b}": 1 for number in range(300_000)}
    gateway.jobs.jobs[job_id].result_json = orjson.dumps({"quantum_result": {"counts": counts}})
    answer = await gateway.http.get(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json()["result"]["quantum_result"]["counts"] == counts) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/{id}",
        "/jobs/{id}/shots",
        "/jobs/{id}/events",
        "/plans/{id}",
        "/reservations/{id}",
        "/discovery/peers/{id}",
    ],
)
@pytest.mark.parametrize(
    "wrong", [str(uuid.uuid4()), "nonsense", "%00", "..%2f..", "%7B%22%24gt%22%3A1%7D", "é"]
)
async def test_unknown_id_is_404(gateway: Any, path: str, wrong: str) -> None:
    """An id that nothing has, or that nothing can have, answers 404 on every route."""
    answer = await gateway.http.get(path.format(id=wrong))
    assert answer.status_code == 404
    assert answer.json()["code"] == "NOT_FOUND"


async def test_cancel_of_an_ended_job_is_409(gateway: Any) -> None:
    """A job is cancelled once; then it has ended."""
    job_id = (await gateway.submit()).json()["job_id"]
    first = await gateway.http.post(f"/jobs/{job_id}/cancel")
    assert first.json()["status"] == "CANCELED"
    second = await gateway.http.post(f"/jobs/{job_id}/cancel")
    assert (second.status_code, second.json()["code"]) == (409, "ILLEGAL_TRANSITION")


async def test_pages_of_jobs_are_linked_with_their_filter(gateway: Any) -> None:
    """Following the Link header walks all jobs of the filter, each once."""
    made = [(await gateway.submit(shots=n + 1)).json()["job_id"] for n in range(5)]
    gateway.jobs.jobs[made[0]].status = events.JOB_STATUS_FAILED
    seen: list[str] = []
    answer = await gateway.http.get("/jobs", params={"limit": 3, "status": ["QUEUED", "COMPLETED"]})
    while True:
        seen += [job["job_id"] for job in answer.json()["jobs"]]
        if "next" not in answer.links:
            break
        answer = await gateway.http.get(gateway.url + answer.links["next"]["url"])
    assert seen == made[1:]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=1000000000", "limit=x", "status=DONE", "cursor=%00", "cursor=forged"],
)
async def test_odd_queries_are_422(gateway: Any, query: str) -> None:
    """Bounds, filters and cursors are checked."""
    answer = await gateway.http.get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "INVALID_ARGUMENT"


async def test_shots_are_packed_columns(gateway: Any) -> None:
    """Per-shot data comes as one packed column a bit."""
    job_id = (await gateway.submit()).json()["job_id"]
    document = (await gateway.http.get(f"/jobs/{job_id}/shots")).json()
    assert document["shots"] == 8
    assert [base64.b64decode(c["column"]) for c in document["columns"]] == [b"\xa5", b"\x5a"]


async def test_plan_is_explained_and_has_a_strong_tag(gateway: Any, lab: ModuleType) -> None:
    """A plan shows its candidates' terms; its tag answers 304."""
    answer = await gateway.http.get(f"/plans/{lab.PLAN_ID}")
    document = answer.json()
    assert document["assignments"][0]["candidates"][0]["score"]["latency"] == 7
    assert document["blocks"][0]["fallbacks"] == ["b"]
    assert document["ebits"]["per_link"] == [{"link": ["a", "b"], "ebits": 2}]
    tag = answer.headers["etag"]
    again = await gateway.http.get(f"/plans/{lab.PLAN_ID}", headers={"if-none-match": f'"x", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
