"""ASGI layer in front of all routes: request ids, bounds of heads and bodies, no text of unforeseen errors."""

from __future__ import annotations

import asyncio
import re
import uuid

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qmesh_gateway.domain.problems import ProblemError

log = structlog.get_logger()

_MAX_HEAD = 32 << 10
_HOST = re.compile(rb"[A-Za-z0-9._~\[\]:-]{1,255}")


class TooLargeError(ProblemError):
    """The body is above the limit."""

    def __init__(self, limit: int) -> None:
        """Takes the limit in bytes."""
        super().__init__(413, "BODY_TOO_LARGE", f"the body is larger than {limit} bytes")


class Envelope:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, max_body: int, body_timeout: float) -> None:
        """Takes the application, the limit of a body in bytes and the seconds in which it has to be there."""
        self._app = app
        self._max_body = max_body
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._max_body, self._body_timeout)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        try:
            _check_head(scope, self._max_body)
            await self._app(scope, exchange.receive, exchange.send)
        except ProblemError as problem:
            await exchange.refuse(problem)
        except Exception:
            log.exception("request failed", request_id=exchange.request_id, path=scope["path"][:256])
            await exchange.refuse(
                ProblemError(500, "INTERNAL", "the gateway met an unexpected error; its log has the cause")
            )


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, max_body: int, body_timeout: float) -> None:
        self.request_id = str(uuid.uuid4())
        self._receive = receive
        self._send = send
        self._max_body = max_body
        self._deadline = asyncio.get_running_loop().time() + body_timeout
        self._received = 0
        self._complete = False
        self._started = False
        self._finished = False

    async def receive(self) -> Message:
        """Next message of the request; the body is bounded in size and time."""
        if self._complete:
            return await self._receive()  # waits for the client to go away, however long that takes
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise ProblemError(408, "BODY_TIMEOUT", "the body did not arrive in time") from None
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._received > self._max_body:
                raise TooLargeError(self._max_body)
        return message

    async def send(self, message: Message) -> None:
        """Passes the answer on, with the request's id."""
        if message["type"] == "http.response.start":
            self._started = True
            headers = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            if message["status"] in {408, 413}:
                headers.append((b"connection", b"close"))  # what is left of the body is not worth reading
            message["headers"] = headers
        elif message["type"] == "http.response.body":
            self._finished = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, problem: ProblemError) -> None:
        """Answers with a problem, where nothing has been answered; a broken answer breaks the connection."""
        if self._finished:
            return
        if self._started:
            raise problem
        body = orjson.dumps(problem.document(self.request_id))
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in problem.headers().items()),
        ]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _check_head(scope: Scope, max_body: int) -> None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if len(scope["raw_path"]) + sum(len(name) + len(value) + 4 for name, value in headers) > _MAX_HEAD:
        raise ProblemError(431, "HEAD_TOO_LARGE", f"the request's head is larger than {_MAX_HEAD} bytes")
    hosts = [value for name, value in headers if name == b"host"]
    if (len(hosts) != 1 and scope["http_version"] == "1.1") or not all(map(_HOST.fullmatch, hosts)):
        raise ProblemError(400, "HOST_INVALID", "a request needs one Host header with a host name")
    length = dict(headers).get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_body:
        raise TooLargeError(max_body)
