"""Collections: their names, the fields that can be asked for, and what a document may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

from qmesh_kit.errors import ServiceError

LARGEST = 4 * 2**20
"""Bytes of JSON that one document may have."""
_LONGEST_KEY = 256
_DEEPEST = 32
_INT64 = 2**63
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_RESERVED = frozenset({"_id", "id", "seq", "revision_id"})


class Kind(Enum):
    """Type of a declared field; every document of its collection has it, and nothing else in its place."""

    TEXT = "text"
    INTEGER = "bigint"


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection.

    Attributes:
        name: its name in every store.
        fields: top-level fields that `find` understands; they are indexed.
        keep: the newest this many stay, by sequence; None keeps all.
    """

    name: str
    fields: Mapping[str, Kind] = field(default_factory=dict)
    keep: int | None = None

    def __post_init__(self) -> None:
        """Refuses names that cannot be written into a statement as they are."""
        for name in (self.name, *self.fields):
            if _NAME.fullmatch(name) is None or name in _RESERVED:
                raise ValueError(f"{name!r} cannot name a collection or a field")


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Attributes:
        key: unique in its collection.
        seq: goes up with every version of the document; a lower one never replaces a higher one.
        body: JSON object.
    """

    key: str
    seq: int
    body: Mapping[str, Any]


PEER_CAPABILITIES = Collection(
    "peer_capabilities",
    {
        "peer_id": Kind.TEXT,
        "trust_tier": Kind.TEXT,
        "enrollment_status": Kind.TEXT,
        "last_seen_at": Kind.TEXT,
    },
)
"""What each peer said of itself last, and its standing; key: peer id; written by the registry."""

TOPOLOGY_PROJECTIONS = Collection(
    "topology_projections",
    {"snapshot_id": Kind.TEXT, "version": Kind.INTEGER, "made_at": Kind.TEXT},
    keep=1000,
)
"""The topology as planners saw it, one document a version; key: the version; written by the registry."""

BENCHMARK_RESULTS = Collection(
    "benchmark_results", {"benchmark_id": Kind.TEXT, "family": Kind.TEXT, "created_at": Kind.TEXT}
)
"""Results of comparative benchmarks; key: benchmark id; the runtime's."""

PROVENANCE_BUNDLES = Collection(
    "provenance_bundles", {"job_id": Kind.TEXT, "plan_id": Kind.TEXT, "created_at": Kind.TEXT}
)
"""Signed evidence of how a job was executed; key: job id; the runtime's."""

COLLECTIONS = (PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS, BENCHMARK_RESULTS, PROVENANCE_BUNDLES)
"""All collections of the mesh."""


def check_document(collection: Collection, document: Document) -> None:
    """Refuses what one of the stores could not keep as it is.

    Raises:
        ServiceError: INVALID_ARGUMENT, with the place.
    """
    where = f"{collection.name}/{document.key[:64]}"
    if not document.key or len(document.key) > _LONGEST_KEY or not _is_text(document.key):
        raise _refused(where, f"the key should be 1 to {_LONGEST_KEY} characters without NUL")
    if not 0 <= document.seq < _INT64:
        raise _refused(where, "seq should be a whole number from 0 to 2^63 - 1")
    taken = _RESERVED & set(document.body)
    if taken:
        raise _refused(where, f"{min(taken)} is the store's own name")
    for name, kind in collection.fields.items():
        check_value(collection, name, document.body.get(name), kind)
    _check_json(where, document.body, 0)
    if len(orjson.dumps(document.body)) > LARGEST:
        raise _refused(where, f"a document should be at most {LARGEST} bytes of JSON")


def check_value(collection: Collection, name: str, value: object, kind: Kind) -> None:
    """Refuses a value that a declared field cannot have.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    fits = isinstance(value, str) if kind is Kind.TEXT else type(value) is int
    if not fits:
        raise _refused(
            f"{collection.name}.{name}", f"should be {kind.name.lower()}, not {type(value).__name__}"
        )
    _check_json(f"{collection.name}.{name}", value, 0)


def _check_json(where: str, value: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise _refused(where, f"should be nested at most {_DEEPEST} deep")
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_json(f"{where}[{number}]", item, depth + 1)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) or not _is_name(name):
                raise _refused(where, f"{str(name)[:64]!r} cannot name a field")
            _check_json(f"{where}.{name}", item, depth + 1)
    elif (why := _objection(value)) is not None:
        raise _refused(where, why)


def _objection(value: object) -> str | None:
    """What the stores have against a value that holds no others."""
    match value:
        case None | bool():
            return None
        case int():
            return None if -_INT64 <= value < _INT64 else "a whole number should fit 64 bits"
        case float():
            return None if math.isfinite(value) else "a number should be finite"
        case str():
            return None if _is_text(value) else "text should have no NUL and no lone surrogate"
    return f"{type(value).__name__} is no JSON"


def _is_name(value: str) -> bool:
    return bool(value) and value[0] != "$" and "." not in value and _is_text(value)


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _refused(where: str, why: str) -> ServiceError:
    return ServiceError("INVALID_ARGUMENT", f"document {where[:200]}: {why}")
