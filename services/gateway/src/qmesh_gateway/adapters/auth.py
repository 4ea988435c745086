"""Who asks: one bootstrap API key, required when it is set."""

from __future__ import annotations

import hashlib
import hmac

from starlette.requests import HTTPConnection

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh_gateway.domain.problems import ProblemError


class Authenticator:
    """Turns the headers of a request into a caller."""

    def __init__(self, api_key: str | None, tenant: str) -> None:
        """Takes the key, if one is required, and the tenant that it stands for."""
        self._key = _digest(api_key.encode()) if api_key else None
        self._tenant = tenant

    def caller(self, connection: HTTPConnection) -> caller.Caller:
        """The caller.

        Raises:
            ProblemError: 401, when the key is missing or wrong.
        """
        if self._key is not None and not hmac.compare_digest(_digest(_presented(connection)), self._key):
            raise ProblemError(
                401,
                "UNAUTHENTICATED",
                "this mesh asks for an API key: send it as 'Authorization: Bearer <key>'",
            )
        return caller.Caller(
            tenant_id=self._tenant,
            principal="bootstrap" if self._key is not None else "anonymous",
            roles=["admin"],
            request_id=connection.state.request_id,
        )


def _digest(key: bytes) -> bytes:
    """Keys are compared by digest, so that neither their bytes nor their lengths show in the time taken."""
    return hashlib.sha256(key).digest()


def _presented(connection: HTTPConnection) -> bytes:
    bearer = connection.headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip().encode()
    return connection.headers.get("x-api-key", "").encode()
