"""A grpc.aio server that always answers, never leaks, and knows deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from qmesh_kit import errors, trace
from qmesh_kit.errors import ServiceError
from qmesh_kit.metrics import Metrics
from qmesh_kit.rpc.tls import server_credentials
from qmesh_kit.settings import TlsSection

log = structlog.get_logger()

ERROR_KEY = "qmesh-error-bin"
_DEFAULT_DEADLINE = 10.0
_HEALTH = "/grpc.health.v1.Health/"


class _Garbage:
    """What a request became that is no message."""


def _guarded(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> Any:
        if deserializer is None:
            return raw
        try:
            return deserializer(raw)
        except DecodeError:
            return _Garbage()

    return read


class RpcServer:
    """One server; services are registered on `grpc`."""

    def __init__(
        self,
        *,
        metrics: Metrics | None = None,
        max_concurrent: int = 512,
        max_message: int = 4 << 20,
    ) -> None:
        """Takes bounds; nothing listens yet."""
        calls = _Calls(metrics)
        self.grpc = grpc.aio.server(
            interceptors=[calls],
            maximum_concurrent_rpcs=max_concurrent,
            options=[
                ("grpc.max_receive_message_length", max_message),
                ("grpc.max_send_message_length", max_message),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
            ],
        )
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        self._socket: Path | None = None

    def listen(self, address: str, *, tls: TlsSection | None = None) -> str:
        """Binds `host:port` or `unix:/path`; returns the address with the port that was bound.

        Raises:
            OSError: the address is taken.
        """
        if address.startswith("unix:"):
            path = Path(address.removeprefix("unix:"))
            path.unlink(missing_ok=True)
            self.grpc.add_insecure_port(f"unix:{path}")
            self._socket = path
            return address
        try:
            if tls is not None:
                port = self.grpc.add_secure_port(address, server_credentials(tls))
            else:
                port = self.grpc.add_insecure_port(address)
        except RuntimeError:
            raise OSError(f"cannot listen on {address}: is another process there?") from None
        return f"{address.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        """Begins to answer."""
        await self.grpc.start()
        if self._socket is not None:
            self._socket.chmod(0o600)

    async def set_serving(self, serving: bool, part: str = "") -> None:
        """What the health service says of the whole, or of a named part that the whole can do without."""
        status = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        await self._health.set(part, status)

    async def stop(self, drain: float) -> None:
        """Takes no new calls, lets running ones end within `drain` seconds."""
        await self.set_serving(serving=False)
        await self.grpc.stop(drain)


if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:  # generic in its stubs only
    _Interceptor = grpc.aio.ServerInterceptor


class _Calls(_Interceptor):
    """Around every handler: deadline, context, errors, metrics."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._seconds = (
            metrics.histogram("qmesh_rpc_seconds", "Duration of calls", ("method", "code"))
            if metrics
            else None
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(_HEALTH):
            return handler
        read = _guarded(handler.request_deserializer)
        write = handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream), read, write
            )
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(method, handler.stream_unary), read, write
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream), read, write
            )
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), read, write)

    def _unary(self, method: str, handler: Any) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            begun = time.perf_counter()
            failure: BaseException
            try:
                limit = _enter(context)
                async with asyncio.timeout(limit):
                    answer = await handler(_checked(request), context)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - a caller is answered whatever happens
                failure = error
            else:
                self._note(method, "OK", begun)
                return answer
            return await self._abort(method, context, failure, begun)

        return call

    def _stream(self, method: str, handler: Any) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            begun = time.perf_counter()
            try:
                _enter(context, streaming=True)
                async for item in handler(_checked(request), context):
                    yield item
            except (asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                await self._abort(method, context, error, begun)
            else:
                self._note(method, "OK", begun)

        return call

    async def _abort(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], error: BaseException, begun: float
    ) -> Any:
        known = errors.translate(error)
        if known is None:
            current = trace.current()
            request_id = current.request_id if current is not None else "-"
            log.error("handler failed", method=method, request_id=request_id, exc_info=error)
            known = ServiceError("INTERNAL", f"an unexpected error, request {request_id}")
        self._note(method, known.status, begun)
        await context.abort(
            getattr(grpc.StatusCode, known.status),
            known.message,
            trailing_metadata=((ERROR_KEY, errors.encode(known)),),
        )
        return None

    def _note(self, method: str, code: str, begun: float) -> None:
        if self._seconds is not None:
            self._seconds.labels(method, code).observe(time.perf_counter() - begun)


def _checked(request: Any) -> Any:
    if isinstance(request, _Garbage):
        raise ServiceError("INVALID_ARGUMENT", "the request is no message of this method")
    return request if not hasattr(request, "__aiter__") else _checked_parts(request)


async def _checked_parts(parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for part in parts:
        yield _checked(part)


def _enter(context: grpc.aio.ServicerContext[Any, Any], *, streaming: bool = False) -> float | None:
    """Takes the caller's context over; seconds that the call may take (None: a stream without a deadline)."""
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise ServiceError("DEADLINE_EXCEEDED", "the deadline passed before the call began")
    limit = remaining if remaining is not None else None if streaming else _DEFAULT_DEADLINE
    carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    deadline = None if limit is None else time.monotonic() + limit
    trace.activate(trace.extract(carrier, deadline=deadline))
    return limit
