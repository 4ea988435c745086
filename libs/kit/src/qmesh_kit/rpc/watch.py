"""Following a server stream that never ends: reconnects with a pause, for as long as the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from qmesh_kit.errors import ServiceError

log = structlog.get_logger()

_PAUSE = 0.25
_LONGEST_PAUSE = 2.0


async def follow[Item](
    name: str,
    open_stream: Callable[[], AsyncIterator[Item]],
    handle: Callable[[Item], Awaitable[None]],
    *,
    stopping: asyncio.Event,
) -> None:
    """Hands every item to `handle`; opens the stream again when it breaks.

    Args:
        name: what is watched, for the log.
        open_stream: opens the stream; its first item is the present state.
        handle: takes one item.
        stopping: ends the following between two streams.
    """
    pause = _PAUSE
    while not stopping.is_set():
        try:
            async for item in open_stream():
                pause = _PAUSE
                await handle(item)
        except ServiceError as error:
            log.info("watch broke", watch=name, code=error.code)
        try:
            async with asyncio.timeout(pause):
                await stopping.wait()
        except TimeoutError:
            pause = min(_LONGEST_PAUSE, 2 * pause)
