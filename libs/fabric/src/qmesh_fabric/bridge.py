"""trio in a thread of an asyncio service: calls, callbacks, and one clear signal when libp2p dies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio


class TrioThread:
    """Runs a trio application beside an asyncio loop."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._stop: trio.Event | None = None
        self._thread: threading.Thread | None = None
        self.done: asyncio.Future[BaseException | None] | None = None

    async def start[T](self, app: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Starts the application; returns what its context manager yields.

        Raises:
            Exception: whatever kept the application from starting.
        """
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[T] = self._loop.create_future()
        self.done = self._loop.create_future()
        done = self.done

        async def main() -> None:
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            async with app() as made, trio.open_nursery() as self._nursery:
                self.post(ready.set_result, made)
                await self._stop.wait()
                self._nursery.cancel_scope.cancel()

        def end(error: BaseException | None) -> None:
            if not ready.done():
                ready.set_exception(_leaf(error) or RuntimeError("trio ended before it began"))
            if not done.done():
                done.set_result(_leaf(error))

        def run() -> None:
            error: BaseException | None = None
            try:
                trio.run(main)
            except BaseException as caught:  # noqa: BLE001 - it is handed to the loop
                error = caught
            self.post(end, error)

        self._thread = threading.Thread(target=run, name="libp2p", daemon=True)
        self._thread.start()
        return await ready

    def post(self, function: Callable[..., Any], *arguments: Any) -> None:
        """From trio: calls a function on the asyncio loop."""
        assert self._loop is not None  # noqa: S101 - set by start
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop has ended, nobody waits any more

    def run_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """From asyncio: calls a function on the trio loop.

        Raises:
            trio.RunFinishedError: trio has ended.
        """
        if self._token is None:
            raise trio.RunFinishedError
        self._token.run_sync_soon(function, *arguments)

    async def call[T](self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Runs a coroutine function in trio; cancelling the caller cancels it and waits for its end.

        Raises:
            trio.RunFinishedError: trio has ended.
        """
        assert self._loop is not None  # noqa: S101 - set by start
        future: asyncio.Future[T] = self._loop.create_future()
        scope = trio.CancelScope()

        def put(setter: str, value: object) -> None:
            if not future.done():
                getattr(future, setter)(value)

        async def job() -> None:
            with scope:
                try:
                    value = await function(*arguments)
                except Exception as error:  # noqa: BLE001 - it crosses to the caller
                    self.post(put, "set_exception", error)
                else:
                    self.post(put, "set_result", value)
                return
            self.post(put, "set_exception", asyncio.CancelledError())

        def begin() -> None:
            assert self._nursery is not None  # noqa: S101 - the token exists only inside it
            self._nursery.start_soon(job)

        self.run_soon(begin)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                self.run_soon(scope.cancel)
                await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    async def stop(self, timeout_seconds: float = 10.0) -> None:
        """Ends the application and its thread."""
        if self._thread is None or self.done is None or self._stop is None:
            return
        try:
            self.run_soon(self._stop.set)
        except trio.RunFinishedError:
            pass  # it has ended by itself
        async with asyncio.timeout(timeout_seconds):
            await asyncio.shield(self.done)
        await asyncio.to_thread(self._thread.join, timeout_seconds)


def _leaf(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
