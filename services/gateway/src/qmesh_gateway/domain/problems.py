"""Problem documents (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from qmesh_model.diagnostics import Diagnostic

_HTTP = {
    "CANCELLED": 409,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 422,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 409,
    "OUT_OF_RANGE": 422,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}
_MOST_ERRORS = 50
_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Took too long",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not acceptable as it stands",
    429: "Too many requests",
    431: "Too large",
    500: "Internal error",
    501: "Not implemented",
    503: "Unavailable",
    504: "Took too long",
}


class ProblemError(Exception):
    """An answer that is not a success.

    Args:
        status: HTTP status.
        code: stable machine code.
        detail: sentence for people.
        errors: entries {field or line, column, code, message, hint}.
        retry_after: seconds for the Retry-After header.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[dict[str, object]] = (),
        retry_after: float | None = None,
    ) -> None:
        """Takes what the document says."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """HTTP headers that belong to the answer."""
        found = {}
        if self.retry_after is not None:
            found["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            found["www-authenticate"] = "Bearer"
        return found

    def document(self, request_id: str) -> dict[str, object]:
        """The problem document."""
        return {
            "type": f"urn:qmesh:problem:{self.code.lower().replace('_', '-')}",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "errors": self.errors,
        }


def of_failure(code: str, message: str, status: str, retry_after: float | None) -> ProblemError:
    """The HTTP form of an error from a service; `status` names its gRPC status."""
    http = _HTTP.get(status, 500)
    if http in {429, 503} and retry_after is None:
        retry_after = 1.0
    return ProblemError(http, code, message, retry_after=retry_after)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """Fields that are not as they should be (entries of pydantic's errors); values are not repeated."""
    entries: list[dict[str, object]] = [
        {
            "field": ".".join(str(part) for part in item["loc"])[:128],
            "code": str(item["type"]).upper(),
            "message": str(item["msg"])[:256],
            "hint": None,
        }
        for item in errors[:_MOST_ERRORS]
    ]
    first = entries[0]
    return ProblemError(422, "INVALID_ARGUMENT", f"{first['field'] or 'body'}: {first['message']}", entries)


def of_diagnostics(diagnostics: Sequence[Diagnostic]) -> ProblemError:
    """A circuit that cannot be understood."""
    first = diagnostics[0]
    more = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
    return ProblemError(
        422,
        "CIRCUIT_INVALID",
        f"line {first.line}, column {first.column}: {first.message}{more}",
        [d.document() for d in diagnostics],
    )
