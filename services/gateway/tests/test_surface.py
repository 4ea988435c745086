import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from qmesh_model.gates import SERVICE_TYPES

KEY = "qm-test-key-of-thirty-two-letters"


async def _status(http: httpx.AsyncClient, **headers: str) -> int:
    return (await http.get("/services", headers=headers)).status_code


async def test_key_is_required_when_it_is_set(start: Any) -> None:
    """With a bootstrap key only requests that carry it pass; health, readiness and the index stay open."""
    async with start(api_key=KEY) as gateway:
        http = gateway.http
        refused = await http.get("/jobs")
        assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert await _status(http, authorization=f"Bearer {KEY}") == 200
        assert await _status(http, **{"x-api-key": KEY}) == 200
        for wrong in (KEY[:-1], KEY + "x", "", "é"):
            assert await _status(http, **{"x-api-key": wrong.encode("latin-1")}) == 401  # type: ignore[arg-type] # bytes are headers, too
        assert (await http.get("/jobs", params={"api_key": KEY})).status_code == 401
        assert (await http.post("/circuits/submit", content=b"not json")).status_code == 401
        assert (await http.post("/circuits/validate", content=b"not json")).status_code == 401
        assert (await http.get("/jobs?limit=x")).status_code == 401
        for path in ("/health", "/ready", "/openapi.json"):
            assert (await http.get(path)).status_code == 200


async def test_health_asks_nobody_and_ready_probes_all(gateway: Any) -> None:
    """Health is about the process; readiness names each dependency."""
    health = (await gateway.http.get("/health")).json()
    assert (health["status"], health["service"]) == ("ok", "gateway")
    ready = (await gateway.http.get("/ready")).json()
    assert ready["status"] == "ready"
    assert {d["name"] for d in ready["dependencies"]} == {
        "runtime",
        "planner",
        "registry",
        "reservation",
        "analyzer",
        "documents",
        "nats",
    }


async def test_documents_that_wait_are_named_and_block_nothing(gateway: Any) -> None:
    """A document store that is away makes the mesh degraded, not unready."""
    await gateway.backend.set_serving(serving=False, part="documents")
    answer = await gateway.http.get("/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()["missing"]) == (
        200,
        "degraded",
        ["documents"],
    )


async def test_ready_is_503_and_names_what_is_missing(gateway: Any) -> None:
    """A dependency that does not serve, or a lost bus, is named; health does not care."""
    gateway.bus.connected = False
    answer = await gateway.http.get("/ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["nats"])
    assert answer.headers["retry-after"]
    await gateway.backend.set_serving(serving=False)
    missing = (await gateway.http.get("/ready")).json()["missing"]
    assert set(missing) == {"runtime", "planner", "registry", "reservation", "analyzer", "nats"}
    assert (await gateway.http.get("/health")).status_code == 200


async def test_services_are_filtered(gateway: Any) -> None:
    """Services are the snapshot's offers, narrowed by type, fidelity and operands."""

    async def found(**query: Any) -> set[tuple[str, str]]:
        rows = (await gateway.http.get("/services", params=query)).json()["services"]
        return {(row["node_id"], row["service_type"]) for row in rows}

    assert len(await found()) == 4
    assert await found(service_type="qft") == {("alice", "qft"), ("bob", "qft")}
    assert await found(min_fidelity=0.95) == {("alice", "cnot"), ("bob", "cnot")}
    assert await found(qubits=3) == {("alice", "qft"), ("bob", "qft")}
    assert (await gateway.http.get("/services?min_fidelity=nan")).status_code == 422


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [("service_type", "hadamar", SERVICE_TYPES), ("availability", "gone", ("available", "busy", "draining"))],
)
async def test_filters_that_nothing_can_pass_are_refused(
    gateway: Any, field: str, value: str, known: Sequence[str]
) -> None:
    """A mistyped word is told from an empty answer, with all that there are; each of them is taken."""
    answer = await gateway.http.get("/services", params={field: value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, f"query.{field}")
    assert set(re.findall("'([a-z_]+)'", answer.json()["detail"])) == set(known)
    for word in known:
        assert (await gateway.http.get("/services", params={field: word})).status_code == 200


async def test_topology_has_measured_links(gateway: Any) -> None:
    """Links come from the registry, with totals over the peers."""
    document = (await gateway.http.get("/discovery/topology")).json()
    assert document["links"][0]["rtt_ms"] == 1.5
    assert document["totals"] == {"peers": 2, "healthy": 2, "links": 1, "data_qubits": 8}
    assert len((await gateway.http.get("/discovery/peers")).json()["peers"]) == 2
    network = (await gateway.http.get("/discovery/network/topology")).json()
    assert network["fabric_running"] is True
    assert network["services"] == ["cnot", "qft"]
    assert (await gateway.http.get("/bootstrap/libp2p")).json()["topics"] == ["qmesh/adverts/v1"]
    assert (await gateway.http.get("/bootstrap/libp2p/runtime")).json()["host_peer_id"] == "registry"


async def test_openapi_is_3_1_with_examples_and_stable_ids(gateway: Any) -> None:
    """Every operation has an id of its own and the problem schema; every reference resolves; bodies have examples."""
    document = (await gateway.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = [o for methods in document["paths"].values() for o in methods.values()]
    ids = [o["operationId"] for o in operations]
    assert len(set(ids)) == len(ids)
    assert {"submitCircuit", "validateCircuit", "listJobs", "getJob", "cancelJob", "getShots"} <= set(ids)
    assert {"streamJobEvents", "getPlan", "listServices", "getTopology", "getHealth", "getReady"} <= set(ids)
    schemas = document["components"]["schemas"]
    for reference in re.findall(
        r'"#/components/schemas/(\w+)"', (await gateway.http.get("/openapi.json")).text
    ):
        assert reference in schemas
    assert schemas["SubmitBody"]["examples"]
    for operation in operations:
        assert "application/problem+json" in operation["responses"]["default"]["content"]
    submit = next(o for o in operations if o["operationId"] == "submitCircuit")
    assert submit["responses"]["202"]["content"]["application/json"]["example"]["status"] == "QUEUED"


async def test_example_of_the_submit_body_runs(gateway: Any) -> None:
    """The documented example is a body that the gateway takes."""
    document = (await gateway.http.get("/openapi.json")).json()
    example = document["components"]["schemas"]["SubmitBody"]["examples"][0]
    answer = await gateway.http.post("/circuits/submit", json=example)
    assert answer.status_code == 202


async def test_docs_load_nothing_from_elsewhere(gateway: Any) -> None:
    """The page of documents is complete in itself."""
    page = (await gateway.http.get(f"{gateway.url}/docs")).text
    assert "/api/v1/circuits/submit" in page
    assert "://" not in page
    assert "<script" not in page
    index = (await gateway.http.get(f"{gateway.url}/")).json()
    assert index["docs"] == "/docs"


@pytest.mark.parametrize("path", ["/nothing", "/../health", "/%2e%2e/health", "/" + "x" * 8000])
async def test_unknown_path_is_a_404_problem(gateway: Any, path: str) -> None:
    """A path that is no route is a problem document, too."""
    answer = await gateway.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
