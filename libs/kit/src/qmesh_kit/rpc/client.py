"""A grpc.aio channel whose calls have deadlines and fail with `ServiceError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import Any, cast

import grpc

from qmesh_kit import errors, trace
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc.server import ERROR_KEY
from qmesh_kit.rpc.tls import channel_credentials
from qmesh_kit.settings import TlsSection

_OPTIONS = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),  # a pod that came back has another address
)


def _translate(error: grpc.aio.AioRpcError) -> ServiceError:
    status = error.code().name
    for key, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if key == ERROR_KEY and isinstance(value, bytes):
            known = errors.decode(value, status=status)
            if known is not None:
                return known
    if status == "UNAVAILABLE":
        return ServiceError("UNAVAILABLE", "the service cannot be reached", status=status, retry_after=1.0)
    if status == "CANCELLED":  # by the other side: our own cancellation is no error of the call
        return ServiceError(
            "UNAVAILABLE", "the service stopped before it answered", status="UNAVAILABLE", retry_after=1.0
        )
    if status == "DEADLINE_EXCEEDED":
        return ServiceError("DEADLINE_EXCEEDED", "the service did not answer in time", status=status)
    return ServiceError(
        status if status in errors.STATUS else "INTERNAL", (error.details() or status)[:200], status=status
    )


class _Call:
    """One call, unary by `await` or streamed by `async for`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, None, Any]:
        return self._unary().__await__()

    async def _unary(self) -> Any:
        try:
            return await self._inner
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from None

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for item in self._inner:
                yield item
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from None
        finally:
            self._inner.cancel()

    def cancel(self) -> None:
        """Ends the call."""
        self._inner.cancel()


class RpcChannel:
    """What stubs are made over; satisfies the part of a channel that stubs use."""

    def __init__(
        self,
        target: str,
        *,
        default_timeout: float | None = None,
        tls: TlsSection | None = None,
        max_message: int = 64 << 20,
    ) -> None:
        """Takes a target (`dns:///host:port`, `unix:/path`) and the deadline of calls that name none."""
        options: list[tuple[str, int | str]] = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_send_message_length", max_message),
        ]
        if target.startswith("dns:///"):
            options.append(("grpc.lb_policy_name", "round_robin"))
        if tls is not None and not target.startswith("unix:"):
            self._channel = grpc.aio.secure_channel(target, channel_credentials(tls), options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._timeout = default_timeout

    def _wrap(self, method: Any, *, streams: bool) -> Any:
        def call(
            request: Any = None, *, timeout: float | None = None, metadata: Any = None, **more: Any
        ) -> _Call:
            limit = (
                timeout
                if timeout is not None
                else None
                if streams and self._timeout is None
                else self._timeout
            )
            context = trace.current()
            carried = list((metadata or {}).items() if isinstance(metadata, dict) else metadata or ())
            if context is not None:
                carried += context.carrier().items()
                left = context.remaining()
                if left is not None:
                    limit = left if limit is None else min(limit, left)
            if limit is None and not more.pop("endless", False):
                raise ValueError("a call needs a deadline: pass timeout=, or give the channel a default")
            return _Call(method(request, timeout=limit, metadata=carried, **more))

        return call

    def endless(self, method: str, serializer: Any, deserializer: Any, request: Any) -> AsyncIterator[Any]:
        """A server stream without an end, for watches; its reader has a deadline of its own."""
        inner = self._channel.unary_stream(method, serializer, deserializer)(request)
        return _Call(inner).__aiter__()

    def unary_unary(self, method: str, *args: Any, **more: Any) -> Any:
        """For stubs."""
        return self._wrap(self._channel.unary_unary(method, *_plain(args, more)), streams=False)

    def unary_stream(self, method: str, *args: Any, **more: Any) -> Any:
        """For stubs."""
        return self._wrap(self._channel.unary_stream(method, *_plain(args, more)), streams=True)

    def stream_unary(self, method: str, *args: Any, **more: Any) -> Any:
        """For stubs."""
        return self._wrap(self._channel.stream_unary(method, *_plain(args, more)), streams=False)

    def stream_stream(self, method: str, *args: Any, **more: Any) -> Any:
        """For stubs."""
        return self._wrap(self._channel.stream_stream(method, *_plain(args, more)), streams=True)

    def stub[Stub](self, make: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """A generated stub over this channel; stubs are typed for grpc's own, of which they call only what is here."""
        return make(cast("grpc.aio.Channel", self))

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close(None)


def _plain(args: tuple[Any, ...], more: dict[str, Any]) -> tuple[Any, Any]:
    if args:
        return args[0], args[1]
    return more.get("request_serializer"), more.get("response_deserializer")
