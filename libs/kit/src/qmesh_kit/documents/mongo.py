"""Documents in MongoDB, by Beanie 1.30 over Motor 3.7: the only module that knows either.

Motor is at its end of life; what has to change for Beanie 2 over PyMongo's own client is in `_connect` and `_raw`. Operators
are those that every server of the protocol understands.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import Awaitable, Mapping, Sequence
from types import ModuleType
from typing import Any

from qmesh_kit.documents.collection import Collection, Document, check_document
from qmesh_kit.documents.store import Span, check_question
from qmesh_kit.errors import ServiceError
from qmesh_kit.settings import MongoSection

_DUPLICATE = 11_000
_REFUSALS = frozenset(
    {13, 18, 8000}
)  # Unauthorized, AuthenticationFailed, and a hosted server's word for both
_MOST_CONNECTIONS = 8
_MONITOR_SECONDS = 0.5
_ATTEMPTS = 2


class MongoDocuments:
    """The store; it connects on first use, and again after every loss."""

    kind = "mongodb"

    def __init__(self, settings: MongoSection, collections: Sequence[Collection], service: str) -> None:
        """Takes where the server is and which collections this process uses."""
        self._settings = settings
        self._collections = tuple(collections)
        self._service = service
        self._connecting = asyncio.Lock()
        self._client: Any = None
        self._models: dict[str, Any] = {}

    async def close(self) -> None:
        """Ends the connections."""
        client, self._client = self._client, None
        self._models = {}
        if client is not None:
            client.close()

    # -- connection --------------------------------------------------------------------------------------------

    async def _model(self, collection: Collection) -> Any:
        async with self._connecting:
            if not self._models:
                await self._connect()
        try:
            return self._models[collection.name]
        except KeyError:
            raise ServiceError(
                "INVALID_ARGUMENT", f"{collection.name} is no collection of the {self._service}"
            ) from None

    async def _connect(self) -> None:
        beanie, motor = await asyncio.to_thread(_libraries)
        if self._client is None:
            milliseconds = round(self._settings.timeout * 1000)
            self._client = motor.AsyncIOMotorClient(
                self._settings.url.get_secret_value(),
                appname=f"qmesh-{self._service}",
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                maxPoolSize=_MOST_CONNECTIONS,
                w="majority",
                journal=True,
            )
        models = {collection.name: _model_of(beanie, collection) for collection in self._collections}
        await beanie.init_beanie(
            database=self._client[self._settings.database], document_models=list(models.values())
        )
        self._models = models

    async def _ask[T](self, collection: Collection, call: Any) -> T:
        """The answer of `call(model)`, with our errors."""
        errors = await asyncio.to_thread(importlib.import_module, "pymongo.errors")

        async def ask() -> T:
            answer: Awaitable[T] = call(await self._model(collection))
            return await answer

        try:
            async with asyncio.timeout(self._settings.timeout * 2 + _MONITOR_SECONDS):
                return await ask()
        except (
            errors.AutoReconnect,
            errors.NetworkTimeout,
            errors.WaitQueueTimeoutError,
            TimeoutError,
        ) as error:
            raise _away() from error
        except errors.OperationFailure as error:
            if error.code in _REFUSALS:
                raise ServiceError(
                    "PERMISSION_DENIED", "the document server refuses us: check user, password and roles"
                ) from error
            if error.has_error_label("RetryableWriteError") or error.timeout:
                raise _away() from error
            raise ServiceError("INTERNAL", f"the document server failed with code {error.code}") from error
        except errors.PyMongoError as error:
            raise ServiceError(
                "UNAVAILABLE", f"the document server cannot be used: {type(error).__name__}", retry_after=1.0
            ) from error

    # -- the port ----------------------------------------------------------------------------------------------

    async def put(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Writes documents; the unique index on `_id` makes a stale upsert fail, which is how it is left out."""
        for document in documents:
            check_document(collection, document)
        if not documents:
            return 0
        pymongo = await asyncio.to_thread(importlib.import_module, "pymongo")
        left = list(documents)
        written = 0
        for _ in range(_ATTEMPTS):
            # a new key that two writers insert at once fails for one of them whatever its seq: hence a second attempt
            operations = [
                pymongo.ReplaceOne(
                    {"_id": document.key, "seq": {"$lt": document.seq}},
                    {"_id": document.key, "seq": document.seq, **document.body},
                    upsert=True,
                )
                for document in left
            ]
            answer: tuple[int, list[int]] = await self._ask(
                collection, lambda model, ops=operations: _write(model, ops)
            )
            written += answer[0]
            left = [left[index] for index in answer[1]]
            if not left:
                break
        return written

    async def get(self, collection: Collection, key: str) -> Document | None:
        """The document of a key."""
        found: Any = await self._ask(collection, lambda model: model.find_one({"_id": key}))
        return None if found is None else _document(found)

    async def find(
        self,
        collection: Collection,
        equal: Mapping[str, str | int] | None = None,
        span: Span | None = None,
        *,
        limit: int = 100,
    ) -> list[Document]:
        """Documents with these values, highest seq first."""
        equal = equal or {}
        check_question(collection, equal, span, limit)
        terms: list[dict[str, Any]] = [{field: value} for field, value in equal.items()]
        if span is not None:
            ends = {"$gte": span.low, "$lt": span.high}
            terms.append({span.field: {sign: end for sign, end in ends.items() if end is not None}})
        query = {"$and": [term for term in terms if term]} if terms else {}
        found: list[Any] = await self._ask(
            collection, lambda model: model.find(query).sort("-seq", "+_id").limit(limit).to_list()
        )
        return [_document(one) for one in found]

    async def delete(self, collection: Collection, key: str) -> bool:
        """Removes one document."""
        answer: Any = await self._ask(collection, lambda model: _raw(model).delete_one({"_id": key}))
        return bool(answer.deleted_count)

    async def trim(self, collection: Collection) -> int:
        """Removes the oldest beyond what the collection keeps."""
        keep = collection.keep
        if keep is None:
            return 0

        async def cut(model: Any) -> int:
            beyond = await model.find({}).sort("-seq").skip(keep).limit(1).to_list()
            if not beyond:
                return 0
            answer = await _raw(model).delete_many({"seq": {"$lte": beyond[0].seq}})
            return int(answer.deleted_count)

        return await self._ask(collection, cut)


def _libraries() -> tuple[ModuleType, ModuleType]:
    """Beanie and Motor, imported where they are used only: half a second of a processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Beanie's lazy-model warns of pydantic at import
        return importlib.import_module("beanie"), importlib.import_module("motor.motor_asyncio")


def _model_of(beanie: ModuleType, declared: Collection) -> Any:
    """Beanie's document class of a collection: key and seq are typed, the body is what `check_document` let in."""
    from pydantic import ConfigDict

    class Stored(beanie.Document):  # type: ignore[misc,name-defined] # untyped when imported late
        model_config = ConfigDict(extra="allow")

        id: str
        seq: int

        class Settings:
            name = declared.name
            indexes = ("seq", *declared.fields)

    return Stored


def _raw(model: Any) -> Any:
    """The driver's own collection; `get_pymongo_collection` in Beanie 2."""
    return model.get_motor_collection()


async def _write(model: Any, operations: Sequence[Any]) -> tuple[int, list[int]]:
    """How many were written, and which (by index) met a document that is as new.

    Raises:
        pymongo.errors.PyMongoError: anything else went wrong.
    """
    from pymongo.errors import BulkWriteError

    try:
        answer = await _raw(model).bulk_write(list(operations), ordered=False)
    except BulkWriteError as error:
        details: Mapping[str, Any] = error.details or {}
        failures = details.get("writeErrors", [])
        if details.get("writeConcernErrors") or any(f.get("code") != _DUPLICATE for f in failures):
            raise
        refused = [int(failure["index"]) for failure in failures]
        return len(operations) - len(refused), refused
    return answer.upserted_count + answer.matched_count, []


def _document(found: Any) -> Document:
    body = found.model_dump(exclude={"id", "seq", "revision_id"})
    return Document(found.id, found.seq, body)


def _away() -> ServiceError:
    return ServiceError("UNAVAILABLE", "the document server does not answer", retry_after=1.0)
