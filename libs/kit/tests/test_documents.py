"""The contract of the document port, over both adapters with a real server each.

The server of MongoDB's protocol is a stand-in unless `QMESH_TEST_MONGO_URL` names a MongoDB.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from qmesh_kit.documents import (
    BENCHMARK_RESULTS,
    COLLECTIONS,
    PEER_CAPABILITIES,
    PROVENANCE_BUNDLES,
    TOPOLOGY_PROJECTIONS,
    Collection,
    Document,
    DocumentStore,
    Entry,
    Kind,
    Outbox,
    Relay,
    Span,
)
from qmesh_kit.documents.collection import LARGEST
from qmesh_kit.documents.mongo import MongoDocuments
from qmesh_kit.documents.outbox import outbox_table
from qmesh_kit.documents.postgres import PostgresDocuments, tables
from qmesh_kit.errors import ServiceError
from qmesh_kit.metrics import Metrics
from qmesh_kit.servers import PostgresServer
from qmesh_kit.settings import MongoSection
from qmesh_kit.testing import (
    DocumentServer,
    NoDocumentServerError,
    database,
    document_server,
    postgres_server,
)

FEW = Collection("few_things", {"name": Kind.TEXT, "number": Kind.INTEGER}, keep=3)
ALL = (*COLLECTIONS, FEW)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests."""
    with postgres_server(Path(tmp_path_factory.mktemp("documents-pg"))) as server:
        yield server


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB that was named, or the stand-in."""
    if url := os.environ.get("QMESH_TEST_MONGO_URL"):
        yield url
        return
    try:
        with document_server(Path(tmp_path_factory.mktemp("documents-mongo"))) as server:
            yield server.url
    except NoDocumentServerError as error:
        pytest.skip(f"no server of MongoDB's protocol: {error}")


@pytest.fixture
async def pool(postgres: PostgresServer) -> AsyncIterator[AsyncConnectionPool]:
    """A pool on a new database with a schema `kit` that has the tables of a migration."""
    url = database(postgres)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA kit")
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'qmesh_kit_writer'").fetchone() is None:
            connection.execute("CREATE ROLE qmesh_kit_writer")
        for statement in (*tables("kit", ALL), *outbox_table("kit")):
            connection.execute(statement.encode())
    async with AsyncConnectionPool(
        url, min_size=1, max_size=4, kwargs={"autocommit": True}, open=False
    ) as opened:
        yield opened


@pytest.fixture(params=["postgres", "mongodb"])
async def store(request: pytest.FixtureRequest, pool: AsyncConnectionPool) -> AsyncIterator[DocumentStore]:
    """An empty store of either kind."""
    if request.param == "postgres":
        yield PostgresDocuments(pool, "kit")
        return
    url = request.getfixturevalue("mongo_url")
    section = MongoSection.model_validate({"url": url, "database": f"t{uuid.uuid4().hex[:16]}"})
    made = MongoDocuments(section, ALL, "kit")
    yield made
    await made.close()


def body(collection: Collection, number: int, **more: Any) -> dict[str, Any]:
    """A body with every declared field."""
    values = {Kind.TEXT: f"v{number:03}", Kind.INTEGER: number}
    return {name: values[kind] for name, kind in collection.fields.items()} | more


RICH = {
    "none": None,
    "yes": True,
    "whole": 2**63 - 1,
    "least": -(2**63),
    "real": 0.1 + 0.2,
    "tiny": 5e-324,
    "text": "ψ𝄞 'quote\" \\ \n\t",
    "empty": {"list": [], "object": {}, "text": ""},
    "nested": [{"a": [1, 2.5, "x", None, False]}],
    "uuid": str(uuid.uuid4()),
    "at": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize("collection", ALL, ids=lambda c: c.name)
async def test_what_is_put_comes_back(store: DocumentStore, collection: Collection) -> None:
    """Every collection keeps any JSON as it is, and an unknown key has no document."""
    held = Document("k", 7, body(collection, 1, rich=RICH))
    assert await store.put(collection, [held]) == 1
    found = await store.get(collection, "k")
    assert found == held
    assert type(found.body["rich"]["yes"]) is bool
    assert await store.get(collection, "other") is None


async def test_an_older_document_never_replaces_a_newer_one(store: DocumentStore) -> None:
    """Only a higher seq is written, and the count says so; a replaced document keeps no field of the old one."""
    one = PEER_CAPABILITIES
    assert await store.put(one, [Document("p", 5, body(one, 5, old=True))]) == 1
    assert await store.put(one, [Document("p", 4, body(one, 4))]) == 0
    assert await store.put(one, [Document("p", 5, body(one, 6))]) == 0
    assert (await store.get(one, "p")) == Document("p", 5, body(one, 5, old=True))
    assert await store.put(one, [Document("p", 4, body(one, 4)), Document("q", 1, body(one, 1))]) == 1
    assert await store.put(one, [Document("p", 9, body(one, 9))]) == 1
    assert (await store.get(one, "p")) == Document("p", 9, body(one, 9))


async def test_writers_that_race_leave_the_newest(store: DocumentStore) -> None:
    """Thirty-two writers of one new key, in any order: the highest seq is what stays."""
    for name in ("a", "b", "c"):
        await asyncio.gather(
            *(
                store.put(TOPOLOGY_PROJECTIONS, [Document(name, seq, body(TOPOLOGY_PROJECTIONS, seq))])
                for seq in (*range(16, 32), *range(16))
            )
        )
        found = await store.get(TOPOLOGY_PROJECTIONS, name)
        assert found is not None
        assert found.seq == 31
        assert found.body["version"] == 31


async def test_one_batch_with_several_versions_leaves_the_newest(store: DocumentStore) -> None:
    """Versions of one document in one call need no order."""
    await store.put(FEW, [Document("k", seq, body(FEW, seq)) for seq in (2, 9, 4)])
    found = await store.get(FEW, "k")
    assert found is not None
    assert found.seq == 9


async def test_find_by_equality_and_span(store: DocumentStore) -> None:
    """Declared fields are compared by value, numbers as numbers, newest first and bounded."""
    await store.put(FEW, [Document(f"k{n}", n, body(FEW, n)) for n in range(1, 21)])
    assert [d.key for d in await store.find(FEW, {"name": "v007"})] == ["k7"]
    assert [d.key for d in await store.find(FEW, {"number": 7, "name": "v008"})] == []
    assert [d.seq for d in await store.find(FEW, span=Span("number", 9, 12))] == [11, 10, 9]
    assert [d.seq for d in await store.find(FEW, span=Span("number", low=19))] == [20, 19]
    assert [d.seq for d in await store.find(FEW, span=Span("name", high="v003"))] == [2, 1]
    assert [d.seq for d in await store.find(FEW, {"name": "v010"}, Span("number", 5, 15))] == [10]
    assert [d.seq for d in await store.find(FEW, limit=3)] == [20, 19, 18]
    assert [d.seq for d in await store.find(FEW, span=Span("name"), limit=2)] == [20, 19]


async def test_text_is_compared_byte_by_byte(store: DocumentStore) -> None:
    """Both stores order text alike, whatever language the database speaks."""
    words = ["Z", "a", "é", "z", "ä", "B", "_"]
    await store.put(FEW, [Document(w, n, {"name": w, "number": n}) for n, w in enumerate(words)])
    found = await store.find(FEW, span=Span("name", "a", "é"))
    assert {d.key for d in found} == {w for w in words if b"a" <= w.encode() < "é".encode()}


async def test_delete_and_trim(store: DocumentStore) -> None:
    """A document goes once; a collection that keeps three keeps its newest three, others keep everything."""
    await store.put(FEW, [Document(f"k{n}", n, body(FEW, n)) for n in range(1, 8)])
    assert await store.delete(FEW, "k7") is True
    assert await store.delete(FEW, "k7") is False
    assert await store.trim(FEW) == 3
    assert [d.key for d in await store.find(FEW)] == ["k6", "k5", "k4"]
    assert await store.trim(FEW) == 0
    await store.put(PROVENANCE_BUNDLES, [Document(f"k{n}", n, body(PROVENANCE_BUNDLES, n)) for n in range(9)])
    assert await store.trim(PROVENANCE_BUNDLES) == 0
    assert len(await store.find(PROVENANCE_BUNDLES)) == 9


async def test_large_documents_are_kept(store: DocumentStore) -> None:
    """A megabyte of evidence is no trouble."""
    big = body(BENCHMARK_RESULTS, 1, rows=[f"{n:063}" for n in range(16_000)])
    await store.put(BENCHMARK_RESULTS, [Document("big", 1, big)])
    assert await store.get(BENCHMARK_RESULTS, "big") == Document("big", 1, big)


BAD: dict[str, dict[Any, Any]] = {
    "nan": {"x": float("nan")},
    "infinite": {"x": float("inf")},
    "wide": {"x": 2**63},
    "nul": {"x": "a\0b"},
    "surrogate": {"x": "\ud800"},
    "dollar": {"x": {"$gt": ""}},
    "dot": {"a.b": 1},
    "no name": {"": 1},
    "number as name": {"x": {1: 2}},
    "reserved": {"_id": 1},
    "bytes": {"x": b"b"},
    "deep": {"x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
    "large": {"x": "a" * LARGEST},
    "field of another type": {"number": "7"},
    "truth as number": {"number": True},
    "null field": {"name": None},
}


@pytest.mark.parametrize("name", BAD)
async def test_what_not_every_store_can_keep_is_refused(store: DocumentStore, name: str) -> None:
    """The same sentence from both, and nothing of the batch is written."""
    good = Document("good", 1, body(FEW, 1))
    with pytest.raises(ServiceError, match="INVALID_ARGUMENT"):
        await store.put(FEW, [good, Document("bad", 1, body(FEW, 1) | BAD[name])])
    assert await store.find(FEW) == []


@pytest.mark.parametrize(
    ("equal", "span", "limit"),
    [
        ({"unknown": "x"}, None, 1),
        ({"name": {"$gt": ""}}, None, 1),
        ({"name": 7}, None, 1),
        ({"number": "7"}, None, 1),
        ({}, Span("body"), 1),
        ({}, Span("number", "a"), 1),
        ({}, None, 0),
        ({}, None, 10**9),
    ],
)
async def test_questions_that_no_store_should_answer(
    store: DocumentStore, equal: Any, span: Span | None, limit: int
) -> None:
    """Operators in values, undeclared fields and other types are refused before any server sees them."""
    with pytest.raises(ServiceError, match="INVALID_ARGUMENT"):
        await store.find(FEW, equal, span, limit=limit)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-(2.0**53), 2.0**53).map(lambda x: x + 0.0)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\0.$"), min_size=1, max_size=8
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
async def test_any_json_comes_back(store: DocumentStore, value: Any) -> None:
    """Whatever JSON a document holds, it is equal afterwards."""
    held = Document(uuid.uuid4().hex, 1, body(FEW, 1, value=value))
    await store.put(FEW, [held])
    assert await store.get(FEW, held.key) == held


async def test_whole_floats_of_any_size_keep_their_value(store: DocumentStore) -> None:
    """JSON has one kind of number: what is whole may come back whole, and is the same double."""
    sizes = [1e15, 4.441149661981773e16, 1e22, -1e300, 1.7976931348623157e308]
    await store.put(FEW, [Document("k", 1, body(FEW, 1, sizes=sizes))])
    found = await store.get(FEW, "k")
    assert found is not None
    assert [float(size) for size in found.body["sizes"]] == sizes


# -- a server that is away -------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DocumentServer]:
    """A document server of one test's own, to be hurt."""
    try:
        with document_server(tmp_path) as running:
            yield running
    except NoDocumentServerError as error:
        pytest.skip(f"no server of MongoDB's protocol: {error}")


async def test_documents_wait_while_the_server_is_away_and_are_caught_up(
    pool: AsyncConnectionPool, server: DocumentServer
) -> None:
    """With the server killed entering goes on, one row a document; when it is back the newest of each arrives."""
    section = MongoSection.model_validate({"url": server.url, "timeout": "500ms"})
    store, outbox, metrics = MongoDocuments(section, ALL, "kit"), Outbox("kit"), Metrics("kit")
    relay = Relay(outbox, pool, store, ALL, metrics)
    try:
        async with pool.connection() as connection:
            await outbox.enter(connection, [Entry(FEW, "a", body(FEW, 0))])
        await relay.step()
        first = await store.get(FEW, "a")
        assert first is not None
        server.kill()
        async with pool.connection() as connection:
            for number in range(1, 5):
                await outbox.enter(connection, [Entry(FEW, n, body(FEW, number)) for n in ("a", "b")])
        with pytest.raises(ServiceError, match="UNAVAILABLE"):
            await relay.step()
        assert metrics.registry.get_sample_value("qmesh_documents_waiting") == 2
        server.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    await relay.step()
                    break
                except ServiceError:
                    await asyncio.sleep(0.05)
        for name in ("a", "b"):
            found = await store.get(FEW, name)
            assert found is not None
            assert found.body == body(FEW, 4)
            assert found.seq > first.seq
        assert metrics.registry.get_sample_value("qmesh_documents_waiting") == 0
    finally:
        await store.close()


async def test_a_server_that_never_was_is_an_error_within_its_deadline() -> None:
    """Nothing listens: UNAVAILABLE after the timeout, and the same again."""
    section = MongoSection.model_validate({"url": "mongodb://127.0.0.1:1", "timeout": "200ms"})
    store = MongoDocuments(section, ALL, "kit")
    try:
        for _ in range(2):
            async with asyncio.timeout(5):
                with pytest.raises(ServiceError, match="UNAVAILABLE"):
                    await store.get(FEW, "a")
    finally:
        await store.close()


async def test_the_outbox_keeps_what_became_newer_meanwhile(pool: AsyncConnectionPool) -> None:
    """A document that is entered again while its former version is delivered stays in line."""
    outbox = Outbox("kit")
    async with pool.connection() as connection:
        await outbox.enter(connection, [Entry(FEW, "a", body(FEW, 1))])
        taken = await outbox.oldest(connection, 10)
        await outbox.enter(connection, [Entry(FEW, "a", body(FEW, 2))])
        await outbox.delivered(connection, taken)
        assert (await outbox.waiting(connection))[0] == 1
        await outbox.delivered(connection, await outbox.oldest(connection, 10))
        assert (await outbox.waiting(connection))[0] == 0


async def test_the_relay_forgets_what_the_store_would_not_keep(pool: AsyncConnectionPool) -> None:
    """Of many versions of a collection that keeps three, three are delivered."""
    outbox, store = Outbox("kit"), PostgresDocuments(pool, "kit")
    async with pool.connection() as connection:
        await outbox.enter(connection, [Entry(FEW, f"k{n:03}", body(FEW, n)) for n in range(250)])
    await Relay(outbox, pool, store, ALL, Metrics("kit")).step()
    assert [d.key for d in await store.find(FEW)] == ["k249", "k248", "k247"]
