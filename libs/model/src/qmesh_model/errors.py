"""The closed hierarchy of errors of the mesh, and what each code means to gRPC, HTTP and the command line.

Responsible for codes and their mapping only; it imports no transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What one stable code means outside of the process.

    Attributes:
        grpc: name of the gRPC status.
        http: HTTP status.
        exit_code: exit code of the command line (libs/client/README.md).
        retryable: whether the same request can succeed later or elsewhere.
        title: short text for people.
    """

    grpc: str
    http: int
    exit_code: int
    retryable: bool
    title: str


_FAILED, _UNREACHABLE, _REFUSED = 1, 3, 4

CODES: Final[Mapping[str, ErrorCode]] = {
    "INVALID_ARGUMENT": ErrorCode("INVALID_ARGUMENT", 422, _REFUSED, False, "The request is not valid"),
    "NOT_FOUND": ErrorCode("NOT_FOUND", 404, _REFUSED, False, "There is no such thing"),
    "CONFLICT": ErrorCode("ABORTED", 409, _REFUSED, False, "The state does not allow this"),
    "ILLEGAL_TRANSITION": ErrorCode(
        "FAILED_PRECONDITION", 409, _REFUSED, False, "No such edge of a lifecycle"
    ),
    "IDEMPOTENCY_MISMATCH": ErrorCode("ALREADY_EXISTS", 409, _REFUSED, False, "Same key, other request"),
    "UNAUTHENTICATED": ErrorCode("UNAUTHENTICATED", 401, _REFUSED, False, "Who are you?"),
    "PERMISSION_DENIED": ErrorCode("PERMISSION_DENIED", 403, _REFUSED, False, "Not allowed"),
    "RESOURCE_EXHAUSTED": ErrorCode("RESOURCE_EXHAUSTED", 429, _REFUSED, True, "Too much at the moment"),
    "UNAVAILABLE": ErrorCode("UNAVAILABLE", 503, _UNREACHABLE, True, "Not reachable at the moment"),
    "DEADLINE_EXCEEDED": ErrorCode("DEADLINE_EXCEEDED", 504, _FAILED, True, "The deadline passed"),
    "TIMEOUT": ErrorCode("DEADLINE_EXCEEDED", 504, _FAILED, True, "One call took too long"),
    "STALE_CLAIM": ErrorCode("FAILED_PRECONDITION", 409, _FAILED, False, "A newer owner exists"),
    "NO_CAPABLE_NODE": ErrorCode("FAILED_PRECONDITION", 503, _FAILED, True, "No node can execute this"),
    "STRATEGY_UNAVAILABLE": ErrorCode(
        "UNIMPLEMENTED", 422, _REFUSED, False, "This strategy does not exist yet"
    ),
    "CIRCUIT_INVALID": ErrorCode("INVALID_ARGUMENT", 422, _REFUSED, False, "The circuit is not valid"),
    "CIRCUIT_TOO_LARGE": ErrorCode("INVALID_ARGUMENT", 422, _REFUSED, False, "The circuit exceeds a bound"),
    "POISON": ErrorCode("FAILED_PRECONDITION", 500, _FAILED, False, "Claimed too often without progress"),
    "FIDELITY_LOW": ErrorCode(
        "FAILED_PRECONDITION", 500, _FAILED, True, "Observed fidelity below the demand"
    ),
    "INPUT_LOST": ErrorCode("DATA_LOSS", 500, _FAILED, True, "An input state is gone"),
    "REJECTED": ErrorCode("FAILED_PRECONDITION", 409, _FAILED, True, "A node did not admit the work"),
    "CANCELED": ErrorCode("CANCELLED", 409, _FAILED, False, "Canceled"),
    "INTERNAL": ErrorCode("INTERNAL", 500, _FAILED, False, "A fault of the mesh itself"),
    "PEER_GONE": ErrorCode("UNAVAILABLE", 503, _FAILED, True, "The peer went away"),
}
"""Every code of the mesh; the keys are stable for ever."""


class MeshError(Exception):
    """A failure that a caller may see.

    Args:
        code: a key of `CODES`.
        message: one sentence for people; never a stack or a path.
        details: short texts for programs.
        retry_after: seconds after which another try makes sense.

    Raises:
        KeyError: when the code is not in `CODES`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.meaning = CODES[code]
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details: dict[str, str] = dict(details or {})
        self.retry_after = retry_after

    @property
    def grpc_status(self) -> str:
        """Name of the gRPC status."""
        return self.meaning.grpc

    @property
    def http_status(self) -> int:
        """HTTP status."""
        return self.meaning.http

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        return self.meaning.exit_code

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later or elsewhere."""
        return self.meaning.retryable
