"""Bodies of requests: strict models, read by our own JSON reader so that nothing odd gets through."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from qmesh_gateway.domain.problems import ProblemError, of_validation

_DEPTH = 32
Precision = Annotated[
    Literal["double", "single"],
    Field(
        description="Of amplitudes on the nodes; equal counts for equal seeds are promised for double only."
    ),
]


def _whole(value: object) -> object:
    """Refuses by its range what the reader of JSON makes a float, because 64 bits do not hold it."""
    if isinstance(value, float) and value.is_integer():
        raise PydanticCustomError("seed_range", "Input should be an integer from 0 to 18446744073709551615")
    return value


Seed = Annotated[int, Field(ge=0, lt=2**64), BeforeValidator(_whole)]


class Body(BaseModel):
    """Base: unknown fields are refused, nothing is coerced, numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PauliTerm(Body):
    """One term of an observable."""

    paulis: Annotated[str, Field(pattern=r"^[IXYZ]{1,1000}$", description="Last letter is qubit 0.")]
    coefficient: float = 1.0


class ObservableBody(Body):
    """A weighted sum of Pauli strings."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+\-]{1,64}$")]
    terms: Annotated[list[PauliTerm], Field(min_length=1, max_length=1000)]


class SubmitBody(Body):
    """POST /circuits/submit."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "circuit": "OPENQASM 3;\nqubit[2] q;\nbit[2] c;\nh q[0];\ncnot q[0], q[1];\nc = measure q;\n",
                    "shots": 1024,
                    "seed": 7,
                }
            ]
        },
    )

    circuit: str
    shots: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    seed: Seed | None = None
    min_fidelity: Annotated[float, Field(ge=0, le=1)] = 0.8
    strategy: Literal["cost", "ebit", "centralized"] = "cost"
    noise: bool = False
    precision: Precision = "double"
    parameters: dict[str, float] | None = None
    parameter_sets: Annotated[list[dict[str, float]], Field(max_length=1000)] | None = None
    observables: Annotated[list[ObservableBody], Field(max_length=100)] = []
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    metadata: dict[str, object] = {}


class ValidateBody(Body):
    """POST /circuits/validate."""

    circuit: str


class CompileBody(Body):
    """POST /circuits/compile."""

    circuit: str
    shots: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    strategy: Literal["cost", "ebit", "centralized"] = "cost"
    noise: bool = False
    precision: Precision = "double"
    min_fidelity: Annotated[float, Field(ge=0, le=1)] = 0.8
    snapshot_id: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


async def read[B: Body](request: Request, kind: type[B]) -> tuple[B, bytes]:
    """The body as a model, and its bytes.

    Raises:
        ProblemError: 415, 400 or 422.
    """
    _check_content_type(request)
    raw = await request.body()
    value = parse_json(raw)
    try:
        return kind.model_validate(value), raw
    except ValidationError as error:
        raise of_validation(
            error.errors(include_url=False, include_input=False, include_context=False)
        ) from None


def _check_content_type(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.replace(" ", "").removeprefix("charset=").strip('"')
    plain = kind.strip() == "application/json" and charset in {"", "utf-8", "utf8"}
    if not plain or request.headers.get("content-encoding"):
        raise ProblemError(
            415, "UNSUPPORTED_MEDIA_TYPE", "send application/json in UTF-8, without content encoding"
        )


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text (RFC 8259), refused where readers of JSON differ.

    Raises:
        ProblemError: 400; not JSON, NaN or infinite, lone surrogates, nested too deeply, or a name given twice.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise _too_deep() from None
        raise ProblemError(400, "JSON_INVALID", f"the body is not JSON: {str(error)[:120]}") from None
    level = [value]
    for _ in range(_DEPTH + 1):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            break
    else:
        raise _too_deep()
    # orjson lets the last of two equal names win, silently
    json.loads(raw, object_pairs_hook=_unique, parse_int=_number, parse_float=_number)
    return value


def _too_deep() -> ProblemError:
    return ProblemError(400, "JSON_DEPTH", f"the body nests deeper than {_DEPTH}")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _number(_: str) -> int:
    return 0


def _unique(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        counted = [name for name, _ in pairs]
        twice = next(name for name in counted if counted.count(name) > 1)
        raise ProblemError(400, "JSON_DUPLICATE_NAME", f"the body gives {twice[:64]!r} twice")
