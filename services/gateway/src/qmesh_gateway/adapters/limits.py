"""ASGI layer in front of all routes: request ids, body limit before buffering, no text of unforeseen errors."""

from __future__ import annotations

import uuid

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qmesh_gateway.domain.problems import ProblemError

log = structlog.get_logger()


class TooLargeError(ProblemError):
    """The body is above the limit."""

    def __init__(self, limit: int) -> None:
        """Takes the limit in bytes."""
        super().__init__(413, "BODY_TOO_LARGE", f"the body is larger than {limit} bytes")


class Envelope:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        """Takes the application and the limit of a body in bytes."""
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        started = False
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._max_body:
                    raise TooLargeError(self._max_body)
            return message

        async def marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if length.isdigit() and int(length) > self._max_body:
                raise TooLargeError(self._max_body)
            await self._app(scope, limited, marked)
        except ProblemError as problem:
            if started:
                raise
            await respond(marked, problem, request_id)
        except Exception:
            log.exception("request failed", request_id=request_id, path=scope["path"])
            if started:
                raise
            problem = ProblemError(
                500, "INTERNAL", "the gateway met an unexpected error; its log has the cause"
            )
            await respond(marked, problem, request_id)


async def respond(send: Send, problem: ProblemError, request_id: str) -> None:
    """Sends a problem document."""
    body = orjson.dumps(problem.document(request_id))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if problem.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(problem.retry_after))).encode()))
    if problem.status == 401:  # noqa: PLR2004 - the HTTP status
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
