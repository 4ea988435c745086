"""Background loops of a service: inside its task group, with a pause after failures that are foreseen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from qmesh_kit.errors import is_foreseen

log = structlog.get_logger()


async def every(
    seconds: float, step: Callable[[], Awaitable[None]], *, name: str, stopping: asyncio.Event
) -> None:
    """Repeats a step until the service stops; an unreachable dependency is logged and tried again."""
    while not stopping.is_set():
        try:
            await step()
        except Exception as error:
            if not is_foreseen(error):
                raise
            log.warning("background step failed", step=name, error=repr(error))
        try:
            async with asyncio.timeout(seconds):
                await stopping.wait()
        except TimeoutError:
            continue
