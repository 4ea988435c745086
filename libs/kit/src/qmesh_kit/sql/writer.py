"""Group commit: many small durable writes, few transactions, in the order of the calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import structlog
from psycopg import AsyncCursor
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from qmesh_kit.errors import ServiceError

log = structlog.get_logger()

_BATCH = 512
_LIMIT = 20_000
_BUSY_WINDOW = 0.002


class GroupWriter[Item, Result]:
    """Collects items and applies them together; each caller gets its own result after the commit.

    `apply(cursor, items)` returns one result for each item, in order; an exception as a result is raised at its caller
    alone. When a batch as a whole fails, its items are applied one by one, so that one of them cannot fail the others.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        apply: Callable[[AsyncCursor[TupleRow], Sequence[Item]], Awaitable[Sequence[Any]]],
        *,
        on_commit: Callable[[Sequence[Item]], None] | None = None,
        single_statement: bool = False,
    ) -> None:
        """Takes the pool; `on_commit` is told what became durable, in order.

        With `single_statement`, `apply` executes exactly one statement, which is a transaction by itself: a batch then
        takes one round trip instead of three or more.
        """
        self._pool = pool
        self._apply = apply
        self._single = single_statement
        self._on_commit = on_commit
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def enqueue(self, item: Item) -> asyncio.Future[Result]:
        """Takes an item; the future ends with its commit.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED, when too much waits.
        """
        if len(self._queue) >= _LIMIT:
            raise ServiceError("RESOURCE_EXHAUSTED", "too many writes wait for the database", retry_after=1.0)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._idle.clear()
        self._wake.set()
        return future

    async def submit(self, item: Item) -> Result:
        """Applies an item and waits until it is durable."""
        return await self.enqueue(item)

    async def flush(self) -> None:
        """Waits until nothing is pending."""
        await self._idle.wait()

    async def run(self) -> None:
        """Works until it is cancelled; runs inside the service's task group."""
        busy = False
        while True:
            await self._wake.wait()
            if busy:
                await asyncio.sleep(_BUSY_WINDOW)
            batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            busy = len(batch) > 1
            await self._commit(batch)
            if not self._queue:
                self._wake.clear()
                self._idle.set()

    async def _commit(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._transaction([item for item, _ in batch])
        except (psycopg.Error, OSError, TimeoutError) as error:
            if len(batch) == 1 or isinstance(error, psycopg.OperationalError):
                log.warning("a group of writes failed", items=len(batch), error=repr(error)[:200])
                for _, future in batch:
                    _fail(future, error)
                return
            for single in batch:
                await self._commit([single])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                _fail(future, result)
            elif not future.done():
                future.set_result(result)
        if self._on_commit is not None:
            done = [
                item
                for (item, _), result in zip(batch, results, strict=True)
                if not isinstance(result, BaseException)
            ]
            self._on_commit(done)

    async def _transaction(self, items: Sequence[Item]) -> Sequence[Any]:
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            if self._single:
                return await self._apply(cursor, items)
            async with connection.transaction():
                return await self._apply(cursor, items)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # an item that nobody awaits is logged above, not by the garbage collector
