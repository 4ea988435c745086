"""trio in a thread of an asyncio service: calls, callbacks, and one clear signal when libp2p dies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from qmesh_fabric.errors import first_of


class TrioThread:
    """Runs a trio application beside an asyncio loop.

    `done` is set when trio ends, to the error that ended it or to None: a service watches it and exits.
    """

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._stop: trio.Event | None = None
        self._thread: threading.Thread | None = None
        self._entered = threading.Event()
        self._scope = trio.CancelScope()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._ready: asyncio.Future[Any] | None = None
        self.done: asyncio.Future[BaseException | None] | None = None

    async def start[T](self, app: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Starts the application; returns what its context manager yields.

        Raises:
            Exception: whatever kept the application from starting.
        """
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[T] = self._loop.create_future()
        self._ready = ready
        self.done = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(app,), name="libp2p", daemon=True)
        self._thread.start()
        try:
            return await ready
        except asyncio.CancelledError:
            await self.stop()
            raise

    def _run(self, app: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        error: BaseException | None = None
        try:
            trio.run(self._main, app)
        except BaseException as caught:  # noqa: BLE001 - it is handed to the loop
            error = first_of(caught)
        self._entered.set()
        self.post(self._end, error)

    async def _main(self, app: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        self._entered.set()
        with self._scope:
            async with app() as made, trio.open_nursery() as self._nursery:
                self.post(self._begun, made)
                await self._stop.wait()
                self._nursery.cancel_scope.cancel()

    def _begun(self, made: object) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(made)

    def _end(self, error: BaseException | None) -> None:
        """On the asyncio loop: nobody waits for trio any more."""
        for future in [*self._waiting]:
            if not future.done():
                future.set_exception(trio.RunFinishedError("trio has ended"))
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error or RuntimeError("trio ended before it began"))
        if self.done is not None and not self.done.done():
            self.done.set_result(error)

    def post(self, function: Callable[..., Any], *arguments: Any) -> None:
        """From trio: calls a function on the asyncio loop."""
        assert self._loop is not None  # noqa: S101 - set by start
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop has ended, nobody waits any more

    def run_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """From asyncio: calls a function on the trio loop; it must not raise.

        Raises:
            trio.RunFinishedError: trio has ended.
        """
        if self._token is None:
            raise trio.RunFinishedError
        self._token.run_sync_soon(function, *arguments)

    async def call[T](self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Runs a coroutine function in trio; cancelling the caller cancels it and waits for its end.

        Raises:
            trio.RunFinishedError: trio has ended, or ends meanwhile.
        """
        assert self._loop is not None  # noqa: S101 - set by start
        future: asyncio.Future[T] = self._loop.create_future()
        scope = trio.CancelScope()
        self.run_soon(self._begin, function, arguments, scope, future)
        self._waiting.add(future)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                self._cancel(scope)
                await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise
        finally:
            self._waiting.discard(future)

    def _cancel(self, scope: trio.CancelScope) -> None:
        try:
            self.run_soon(scope.cancel)
        except trio.RunFinishedError:
            return  # `_end` settles the future

    def _begin(
        self,
        function: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
        scope: trio.CancelScope,
        future: asyncio.Future[Any],
    ) -> None:
        """On the trio loop; what it raised would end trio itself."""
        assert self._nursery is not None  # noqa: S101 - `start` returns after it is open
        try:
            self._nursery.start_soon(self._work, function, arguments, scope, future)
        except RuntimeError:  # the nursery takes nobody any more
            self.post(_settle, future, None, trio.RunFinishedError("trio is ending"))

    async def _work(
        self,
        function: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
        scope: trio.CancelScope,
        future: asyncio.Future[Any],
    ) -> None:
        try:
            with scope:
                self.post(_settle, future, await function(*arguments), None)
                return
        except Exception as error:  # noqa: BLE001 - it crosses to the caller
            self.post(_settle, future, None, error)
        else:
            self.post(future.cancel)

    async def stop(self, timeout_seconds: float = 10.0) -> None:
        """Ends the application and its thread; may be called at any time, and again.

        Raises:
            TimeoutError: it does not end.
        """
        thread, done = self._thread, self.done
        if thread is None or done is None:
            return
        async with asyncio.timeout(timeout_seconds):
            await asyncio.to_thread(self._entered.wait)
            try:
                starting = self._nursery is None
                self.run_soon(self._scope.cancel if starting or self._stop is None else self._stop.set)
            except trio.RunFinishedError:
                pass  # it has ended by itself
            await asyncio.shield(done)
        await asyncio.to_thread(thread.join, timeout_seconds)


def _settle(future: asyncio.Future[Any], value: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
