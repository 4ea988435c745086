"""Projections of peers and topologies: what is in them, and that they reach a document store that comes and goes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_kit.documents import PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS, DocumentStore, Relay
from qmesh_kit.documents.collection import Document, check_document
from qmesh_kit.documents.mongo import MongoDocuments
from qmesh_kit.documents.postgres import PostgresDocuments
from qmesh_kit.errors import ServiceError
from qmesh_kit.metrics import Metrics
from qmesh_kit.settings import ConfigError, MongoSection
from qmesh_kit.testing import DocumentServer, NoDocumentServerError, document_server
from qmesh_registry.__main__ import COLLECTIONS
from qmesh_registry.adapters.postgres import OUTBOX, PostgresRegistry
from qmesh_registry.application import Registry
from qmesh_registry.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DocumentServer]:
    """A document server of one test's own."""
    try:
        with document_server(tmp_path) as running:
            yield running
    except NoDocumentServerError as error:
        pytest.skip(f"no server of MongoDB's protocol: {error}")


async def _caught_up(relay: Relay) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await relay.step()
            except ServiceError:
                await asyncio.sleep(0.05)
            else:
                return


async def _snapshot(made: Registry) -> None:
    """Lets the registry make its snapshot."""
    run = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(10):
            while not made.newest.nodes:  # noqa: ASYNC110 - a test's poll
                await asyncio.sleep(0.01)
    finally:
        run.cancel()


@pytest.mark.parametrize("kind", ["postgres", "mongodb"])
async def test_peers_and_topologies_are_projected(
    lab: ModuleType, pool: AsyncConnectionPool, kind: str, request: pytest.FixtureRequest
) -> None:
    """After a save and a relay's step each peer has its document, and each snapshot too; a change of trust follows."""
    store: DocumentStore = PostgresDocuments(pool, "registry")
    if kind == "mongodb":
        section = MongoSection.model_validate({"url": request.getfixturevalue("server").url})
        store = MongoDocuments(section, COLLECTIONS, "registry")
    made = lab.registry(PostgresRegistry(pool))
    await made.restore()
    relay = Relay(OUTBOX, pool, store, COLLECTIONS, Metrics("registry"))
    await lab.join(made, "one", "two")
    await made.decide(lab.hello("stranger"), "no token")
    made.advertised(lab.advertisement("stranger"))
    await _snapshot(made)
    await made.save()
    await relay.step()
    found = await store.get(PEER_CAPABILITIES, lab.peer("one"))
    assert found is not None
    assert found.body["enrollment_status"] == "ready"
    assert found.body["trust_tier"] == "platform_managed"
    assert [s["service_type"] for s in found.body["services"]] == ["hadamard", "cnot"]
    assert found.body["advertisement"]["capacity"]["data_qubits"] == 4
    (stranger,) = await store.find(PEER_CAPABILITIES, {"trust_tier": "public_untrusted"})
    assert (stranger.key, stranger.body["services"]) == (lab.peer("stranger"), [])
    (newest, *_) = await store.find(TOPOLOGY_PROJECTIONS, {"snapshot_id": made.newest.snapshot_id})
    assert newest.body["version"] == made.newest.version
    assert {n["node_id"] for n in newest.body["nodes"]} == {lab.peer("one"), lab.peer("two")}
    await made.act(
        pb.ActOnEnrollmentRequest(
            caller=caller.Caller(principal="op"),
            peer_id=lab.peer("two"),
            action=pb.ENROLLMENT_ACTION_QUARANTINE,
            reason="odd",
        )
    )
    await made.save()
    await relay.step()
    (out,) = await store.find(PEER_CAPABILITIES, {"enrollment_status": "quarantined"})
    assert out.key == lab.peer("two")
    assert out.body["services"] == []
    if isinstance(store, MongoDocuments):
        await store.close()


async def test_a_server_that_is_away_costs_no_advert(
    lab: ModuleType, pool: AsyncConnectionPool, server: DocumentServer
) -> None:
    """While it is gone adverts are taken and saved; when it is back the newest of each peer is there."""
    section = MongoSection.model_validate({"url": server.url, "timeout": "300ms"})
    store = MongoDocuments(section, COLLECTIONS, "registry")
    metrics = Metrics("registry")
    relay = Relay(OUTBOX, pool, store, COLLECTIONS, metrics)
    made = lab.registry(PostgresRegistry(pool))
    await made.restore()
    server.kill()
    await lab.join(made, "one", "two")
    for counter in range(2, 12):
        made.advertised(lab.advertisement("one", counter=counter))
        await made.save()
        with pytest.raises(ServiceError, match="UNAVAILABLE"):
            await relay.step()
    assert (metrics.registry.get_sample_value("qmesh_documents_waiting") or 0) >= 2
    assert {p for p, *_ in await PostgresRegistry(pool).peers()} == {lab.peer("one"), lab.peer("two")}
    server.start()
    await _caught_up(relay)
    found = await store.get(PEER_CAPABILITIES, lab.peer("one"))
    assert found is not None
    assert found.body["advertisement"]["counter"] == 11
    assert metrics.registry.get_sample_value("qmesh_documents_waiting") == 0
    await store.close()


async def test_a_restart_makes_good_what_a_dropped_store_lost(
    lab: ModuleType, pool: AsyncConnectionPool
) -> None:
    """With every document deleted, the next start projects every known peer again, equal but for when it was seen."""
    store = PostgresDocuments(pool, "registry")
    relay = Relay(OUTBOX, pool, store, COLLECTIONS, Metrics("registry"))
    made = lab.registry(PostgresRegistry(pool))
    await made.restore()
    await lab.join(made, "one", "two")
    await made.save()
    await relay.step()
    before = {d.key: d for d in await store.find(PEER_CAPABILITIES)}
    for key in before:
        await store.delete(PEER_CAPABILITIES, key)
    again = lab.registry(PostgresRegistry(pool))
    await again.restore()
    await again.save()
    await relay.step()
    after = {d.key: d for d in await store.find(PEER_CAPABILITIES)}

    def lasting(document: Document) -> dict[str, Any]:
        return {name: value for name, value in document.body.items() if not name.endswith("_at")}

    assert {k: lasting(d) for k, d in after.items()} == {k: lasting(d) for k, d in before.items()}
    assert all(after[key].seq > before[key].seq for key in after)


async def test_a_database_that_is_away_loses_no_projection(lab: ModuleType) -> None:
    """What could not be saved is in the next attempt: adverts, documents, and topologies in their order."""
    store = lab.MemoryStore()
    made = lab.registry(store)
    await made.restore()
    await lab.join(made, "one")
    await _snapshot(made)
    store.away = True
    with pytest.raises(ServiceError):
        await made.save()
    store.away = False
    await made.save()
    assert {e.key for e in store.entries if e.collection is PEER_CAPABILITIES} == {lab.peer("one")}
    versions = [int(e.key) for e in store.entries if e.collection is TOPOLOGY_PROJECTIONS]
    assert versions == sorted(versions)
    assert versions[-1] == made.newest.version


async def test_every_number_that_a_peer_may_say_has_a_document(lab: ModuleType) -> None:
    """The largest numbers of the wire are kept as the largest of a store, and stop no save."""
    store = lab.MemoryStore()
    made = lab.registry(store)
    await made.decide(lab.hello("one"), lab.POOL_TOKEN)
    message = lab.advertisement("one", epoch=2**64 - 1, counter=2**64 - 1)
    message.capacity.state_bytes = message.load.state_bytes_used = 2**64 - 1
    made.advertised(message)
    await made.save()
    (entry,) = [e for e in store.entries if e.collection is PEER_CAPABILITIES]
    check_document(entry.collection, Document(entry.key, 0, entry.body))
    assert entry.body["advertisement"]["capacity"]["state_bytes"] == 2**63 - 1


BASE = {
    "QMESH_REGISTRY__IDENTITY_FILE": "/k",
    "QMESH_POSTGRES__URL": "postgresql:///d?host=/s",
    "QMESH_NATS__URL": "nats://127.0.0.1:4222",
}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"QMESH_DOCUMENTS__STORE": "mongodb"}, ["QMESH_MONGO__URL"]),
        ({"QMESH_DOCUMENTS__STORE": "mongo"}, ["QMESH_DOCUMENTS__STORE"]),
        ({"QMESH_DOCUMENTS__STORE": "mongodb", "QMESH_MONGO__URL": "postgresql://h/d"}, ["QMESH_MONGO__URL"]),
        ({"QMESH_PROFILE": "production"}, ["QMESH_DOCUMENTS__STORE"]),
        (
            {
                "QMESH_PROFILE": "production",
                "QMESH_DOCUMENTS__STORE": "mongodb",
                "QMESH_MONGO__URL": "mongodb://h:27017/",
            },
            ["QMESH_MONGO__URL"],
        ),
        (
            {
                "QMESH_PROFILE": "production",
                "QMESH_DOCUMENTS__STORE": "mongodb",
                "QMESH_MONGO__URL": "mongodb://h:27017/?tls=true",
            },
            [],
        ),
        ({"QMESH_DOCUMENTS__STORE": "mongodb", "QMESH_MONGO__URL": "mongodb://u:p@h"}, []),
    ],
)
def test_settings_of_documents(more: dict[str, str], names: list[str]) -> None:
    """A store without an address, an unknown one, or a plain one in production is refused by its name."""
    try:
        Settings.from_environ(BASE | more)
        found: list[str] = []
    except ConfigError as error:
        found = [problem.name for problem in error.problems]
    assert found == names
