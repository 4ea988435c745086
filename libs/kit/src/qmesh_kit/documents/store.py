"""The port: a store of documents; both adapters pass one contract suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from qmesh_kit.documents.collection import Collection, Document, check_value
from qmesh_kit.errors import ServiceError

MOST = 1000
"""Documents that one `find` answers with at most."""


@dataclass(frozen=True, slots=True)
class Span:
    """Values of one declared field, from `low` to below `high`; either end may be open."""

    field: str
    low: str | int | None = None
    high: str | int | None = None


class DocumentStore(Protocol):
    """Keeps documents; every call has a deadline.

    All methods raise:
        ServiceError: UNAVAILABLE, the server does not answer; PERMISSION_DENIED, it refuses us; INVALID_ARGUMENT, the
            document or the question is none that every store understands.
    """

    kind: str

    async def put(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Writes documents; one with a lower or the same `seq` as the stored one is left out. How many were written."""
        ...

    async def get(self, collection: Collection, key: str) -> Document | None:
        """The document of a key."""
        ...

    async def find(
        self,
        collection: Collection,
        equal: Mapping[str, str | int] | None = None,
        span: Span | None = None,
        *,
        limit: int = 100,
    ) -> list[Document]:
        """Documents whose declared fields have these values, highest `seq` first."""
        ...

    async def delete(self, collection: Collection, key: str) -> bool:
        """Removes the document of a key; whether there was one."""
        ...

    async def trim(self, collection: Collection) -> int:
        """Removes the oldest beyond what the collection keeps; how many."""
        ...


def check_question(
    collection: Collection, equal: Mapping[str, str | int], span: Span | None, limit: int
) -> None:
    """Refuses a question that not every store understands.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    asked = list(equal.items())
    if span is not None:
        asked += [(span.field, end) for end in (span.low, span.high) if end is not None]
    for name in (*equal, *([span.field] if span is not None else [])):
        if name not in collection.fields:
            raise ServiceError("INVALID_ARGUMENT", f"{collection.name} declares no field {name[:64]!r}")
    for name, value in asked:
        check_value(collection, name, value, collection.fields[name])
    if not 1 <= limit <= MOST:
        raise ServiceError("INVALID_ARGUMENT", f"limit should be 1 to {MOST}")
