"""Turns ``QMESH_`` variables into nested data for a settings class.

Responsible for names (typo guard), blanks, quotes and ``*_FILE`` secrets. Types and ranges are checked by pydantic afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, SecretStr

PREFIX = "QMESH_"
SERVICE_SECTIONS = frozenset({"gateway", "planner", "registry", "reservation", "runtime", "analyzer", "node"})
"""Sections of the services; one environment may carry them all."""
FOREIGN_NAMES = frozenset(
    {"QMESH_URL", "QMESH_API_KEY", "QMESH_KUBE", "QMESH_CLUSTER_UP", "QMESH_READY_FD"}
    | {"QMESH_E2E_KUBE", "QMESH_TEST_MONGO_URL"}
)
"""Names of the command line and of the build, which a process of the mesh may inherit."""
_SERVICE_LINK = re.compile(
    r"QMESH(?:_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP)(_[A-Z]+)?)?)"
)
_MAX_SECRET_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a variable; never holds its value."""

    name: str
    reason: str


def collect(model: type[BaseModel], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Nested data for `model` from the environment, and what is wrong with the names."""
    data: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and not _is_foreign(name, environ):
            problem = _take(model, name, environ, data)
            if problem is not None:
                problems.append(Problem(name, problem))
    return data, problems


def variable(location: tuple[int | str, ...]) -> str:
    """Name of the variable that sets the field at a pydantic location."""
    return PREFIX + "__".join(str(part) for part in location if not isinstance(part, int)).upper()


def _is_foreign(name: str, environ: Mapping[str, str]) -> bool:
    if name in FOREIGN_NAMES:
        return True
    # Kubernetes adds QMESH_<SERVICE>_PORT=tcp://... for each Service of the namespace unless it is told not to.
    in_cluster = "KUBERNETES_SERVICE_HOST" in environ and "__" not in name
    return in_cluster and _SERVICE_LINK.fullmatch(name) is not None


def _take(model: type[BaseModel], name: str, environ: Mapping[str, str], data: dict[str, Any]) -> str | None:
    """Puts one variable into `data`; returns what is wrong with it."""
    path = name.removeprefix(PREFIX).lower().split("__")
    own = path[0] in model.model_fields
    if not own and path[0] in SERVICE_SECTIONS and len(path) > 1:
        return None
    try:
        value = clean(environ[name])
    except ValueError as error:
        return str(error)
    field = _resolve(model, path)
    if field is None:
        return _take_file(model, path, name, value, environ, data)
    if value is not None:
        try:
            _put(data, path, _structured(field, value))
        except ValueError:
            return "is not valid JSON"
    return None


def _take_file(
    model: type[BaseModel],
    path: list[str],
    name: str,
    value: str | None,
    environ: Mapping[str, str],
    data: dict[str, Any],
) -> str | None:
    base = [*path[:-1], path[-1].removesuffix("_file")]
    annotation = _resolve(model, base) if path[-1].endswith("_file") else None
    if annotation is None or SecretStr not in _alternatives(annotation):
        return "is not a setting of the mesh"
    if value is None:
        return None
    if environ.get(name.removesuffix("_FILE"), "").strip():
        return "is set beside the variable without _FILE"
    secret, problem = _read_secret(Path(value))
    if secret is not None:
        _put(data, base, secret)
    return problem


def _read_secret(path: Path) -> tuple[str | None, str | None]:
    try:
        if path.stat().st_size > _MAX_SECRET_FILE:
            return None, "names a file that is too large for a secret"
        secret = path.read_bytes().decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None, "names a file that is not text"
    except OSError:
        return None, "names a file that cannot be read"
    return (secret, None) if secret else (None, "names an empty file")


def clean(raw: str) -> str | None:
    """The value without BOM, carriage returns and blanks around it; None when nothing is left.

    Raises:
        ValueError: it is in quotes (an env file's quotes are part of the value) or holds control characters.
    """
    value = raw.strip().removeprefix("\ufeff").strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise ValueError("is in quotes, which would be part of the value")
    if any(ord(character) < ord(" ") for character in value):
        raise ValueError("holds control characters")
    return value or None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return tuple(inner for part in get_args(annotation) for inner in _alternatives(part))
    return (annotation,)


def _resolve(model: type[BaseModel], path: list[str]) -> Any:
    """Annotation of the field at `path`, None when there is no such field."""
    annotation: Any = model
    for part in path:
        models = [a for a in _alternatives(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
        field = models[0].model_fields.get(part) if models else None
        if field is None:
            return None
        annotation = field.annotation
    whole = any(isinstance(a, type) and issubclass(a, BaseModel) for a in _alternatives(annotation))
    return None if whole else annotation


def _structured(annotation: Any, value: str) -> Any:
    origins = {get_origin(part) or part for part in _alternatives(annotation)}
    if origins & {list, tuple, set, frozenset}:
        return orjson.loads(value) if value.startswith("[") else [part.strip() for part in value.split(",")]
    if dict in origins:
        return orjson.loads(value)
    return value


def _put(data: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
    data[path[-1]] = value
