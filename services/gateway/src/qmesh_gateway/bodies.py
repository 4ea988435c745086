"""Bodies of requests: strict models, read by our own JSON reader so that nothing odd gets through."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from qmesh_gateway.domain.problems import ProblemError

_DEPTH = 32


class Body(BaseModel):
    """Base: unknown fields are refused, nothing is coerced, numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PauliTerm(Body):
    """One term of an observable."""

    paulis: Annotated[str, Field(pattern=r"^[IXYZ]{1,1000}$", description="Last letter is qubit 0.")]
    coefficient: float = 1.0


class ObservableBody(Body):
    """A weighted sum of Pauli strings."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
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
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    min_fidelity: Annotated[float, Field(ge=0, le=1)] = 0.8
    strategy: Literal["cost", "ebit", "centralized"] = "cost"
    noise: bool = False
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
    min_fidelity: Annotated[float, Field(ge=0, le=1)] = 0.8
    snapshot_id: Annotated[str, Field(max_length=64)] = ""


async def read[B: Body](request: Request, kind: type[B]) -> tuple[B, bytes]:
    """The body as a model, and its bytes.

    Raises:
        ProblemError: 415, 400 or 422.
    """
    content = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content != "application/json" or request.headers.get("content-encoding"):
        raise ProblemError(415, "UNSUPPORTED_MEDIA_TYPE", "send application/json, without content encoding")
    raw = await request.body()
    _bounded_depth(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProblemError(400, "JSON_INVALID", f"the body is not JSON: {str(error)[:120]}") from None
    try:
        return kind.model_validate(value), raw
    except ValidationError as error:
        entries: list[dict[str, object]] = [
            {
                "field": ".".join(str(part) for part in item["loc"])[:128],
                "code": item["type"].upper(),
                "message": item["msg"][:256],
                "hint": None,
            }
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        first = entries[0]
        raise ProblemError(
            422, "INVALID_ARGUMENT", f"{first['field'] or 'body'}: {first['message']}", entries
        ) from None


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def _bounded_depth(raw: bytes) -> None:
    """Refuses deep nesting before any parser recurses."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > _DEPTH:
            raise ProblemError(400, "JSON_DEPTH", f"the body nests deeper than {_DEPTH}")
