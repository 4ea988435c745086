"""Which adapter a process uses, by its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from qmesh_kit.documents.collection import Collection
from qmesh_kit.documents.store import DocumentStore
from qmesh_kit.settings import BaseMeshSettings

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool


@asynccontextmanager
async def open_documents(
    settings: BaseMeshSettings, pool: AsyncConnectionPool, service: str, collections: Sequence[Collection]
) -> AsyncIterator[DocumentStore]:
    """The store of the settings; a server that is away is met at the first call, not here."""
    if settings.documents.store == "postgres" or settings.mongo is None:
        from qmesh_kit.documents.postgres import PostgresDocuments

        yield PostgresDocuments(pool, service)
        return
    from qmesh_kit.documents.mongo import MongoDocuments

    store = MongoDocuments(settings.mongo, collections, service)
    try:
        yield store
    finally:
        await store.close()
