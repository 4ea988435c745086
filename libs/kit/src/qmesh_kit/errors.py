"""The error that crosses processes, and the table from stable codes to gRPC status names.

Responsible for the mapping only; it imports no transport.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import orjson

STATUS: dict[str, str] = {
    "INVALID_ARGUMENT": "INVALID_ARGUMENT",
    "CIRCUIT_INVALID": "INVALID_ARGUMENT",
    "OUT_OF_RANGE": "OUT_OF_RANGE",
    "NOT_FOUND": "NOT_FOUND",
    "ALREADY_EXISTS": "ALREADY_EXISTS",
    "CONFLICT": "ABORTED",
    "IDEMPOTENCY_CONFLICT": "ALREADY_EXISTS",
    "UNAUTHENTICATED": "UNAUTHENTICATED",
    "PERMISSION_DENIED": "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED": "RESOURCE_EXHAUSTED",
    "NO_CAPACITY": "RESOURCE_EXHAUSTED",
    "STALE_CLAIM": "FAILED_PRECONDITION",
    "NO_CAPABLE_NODE": "FAILED_PRECONDITION",
    "ILLEGAL_TRANSITION": "FAILED_PRECONDITION",
    "REJECTED": "FAILED_PRECONDITION",
    "EXPIRED": "FAILED_PRECONDITION",
    "UNAVAILABLE": "UNAVAILABLE",
    "DEADLINE_EXCEEDED": "DEADLINE_EXCEEDED",
    "CANCELED": "CANCELLED",
    "UNIMPLEMENTED": "UNIMPLEMENTED",
    "DATA_LOSS": "DATA_LOSS",
    "INTERNAL": "INTERNAL",
}
"""Stable code to the name of its gRPC status; a deliberate error with another code is FAILED_PRECONDITION."""

STATUSES = frozenset(
    {"CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"}
    | {"PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED"}
    | {"OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
_LONGEST_MESSAGE = 1024
_MOST_DETAILS = 32
_LONGEST_WIRE = 6 * 1024


class ServiceError(Exception):
    """A failure with a stable code, made to be read by another process.

    Args:
        code: stable machine code, upper case.
        message: one sentence for people; never a stack, a path or a foreign exception's text.
        status: name of the gRPC status; by default from `STATUS`.
        details: short texts for programs.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: str | None = None,
        details: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or STATUS.get(code, "FAILED_PRECONDITION")
        self.details = dict(details or {})
        self.retry_after = retry_after


type Translator = Callable[[BaseException], ServiceError | None]
_TRANSLATORS: list[Translator] = []


def register_translator(translator: Translator) -> None:
    """Adds a rule that turns a library's exceptions into service errors."""
    _TRANSLATORS.append(translator)


def is_foreseen(error: BaseException) -> bool:
    """Whether a dependency was away, or refused; every part of a group has to say so."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_foreseen(part) for part in error.exceptions)
    return isinstance(error, OSError | TimeoutError) or translate(error) is not None


def translate(error: BaseException) -> ServiceError | None:
    """The service error that an exception stands for; None when it is unforeseen."""
    if isinstance(error, ServiceError):
        return error
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, str) and isinstance(message, str) and _CODE.fullmatch(code):
        details = getattr(error, "details", None)
        texts = {str(k): str(v) for k, v in details.items()} if isinstance(details, Mapping) else {}
        return ServiceError(code, message, details=texts, retry_after=getattr(error, "retry_after", None))
    if isinstance(error, TimeoutError):
        return ServiceError("DEADLINE_EXCEEDED", "the time for this call ran out")
    for translator in _TRANSLATORS:
        found = translator(error)
        if found is not None:
            return found
    return None


def encode(error: ServiceError) -> bytes:
    """JSON for the wire: code, message, details, retry_after_ms; bounded."""
    details = {k[:64]: v[:512] for k, v in list(error.details.items())[:_MOST_DETAILS]}
    body = {
        "code": error.code,
        "message": error.message[:_LONGEST_MESSAGE],
        "details": details,
        "retry_after_ms": None if error.retry_after is None else round(error.retry_after * 1000),
    }
    raw = orjson.dumps(body)
    return raw if len(raw) <= _LONGEST_WIRE else orjson.dumps({**body, "details": {}})


def decode(raw: bytes, *, status: str) -> ServiceError | None:
    """The error that `encode` wrote; None when the bytes are something else."""
    if len(raw) > _LONGEST_WIRE * 2:
        return None
    try:
        body = orjson.loads(raw)
        code, message, details = body["code"], body["message"], body["details"]
        wait = body.get("retry_after_ms")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not (
        isinstance(code, str)
        and isinstance(message, str)
        and isinstance(details, dict)
        and _CODE.fullmatch(code)
    ):
        return None
    retry_after = wait / 1000 if isinstance(wait, int) and wait >= 0 else None
    texts = {str(k): str(v) for k, v in details.items()}
    return ServiceError(code, message, status=status, details=texts, retry_after=retry_after)
