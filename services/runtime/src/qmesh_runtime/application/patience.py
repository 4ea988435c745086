"""Calls to other services of the coordinator that are repeated while the service is away.

Only calls that may be repeated come here. What the mesh refuses is never asked twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from qmesh_kit.errors import ServiceError
from qmesh_runtime.domain.policy import RetryPolicy

log = structlog.get_logger()

AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "TIMEOUT", "CANCELED"})
"""Codes of a service that is away, stops or starts; it may answer later."""

_TRIES = 3
_LONGEST_PAUSE = 1.0


async def patiently[T](call: Callable[[], Awaitable[T]], what: str, until: float, policy: RetryPolicy) -> T:
    """The answer of a call, asked again with growing pauses while the service is away.

    Args:
        call: makes one attempt.
        what: what is asked for, for the log.
        until: time (of `time.time()`) after which the last failure is raised.
        policy: pauses.

    Raises:
        ServiceError: the refusal, or the last failure.
    """

    def pause(error: ServiceError, attempt: int) -> float | None:
        pause = policy.pause(attempt)
        return None if error.code not in AWAY or time.time() + pause >= until else pause

    return await _asked(call, what, pause)


async def if_told[T](call: Callable[[], Awaitable[T]], what: str) -> T:
    """The answer of a call that a job can do without: asked again, three times in all, where a refusal says when.

    Args:
        call: makes one attempt.
        what: what is asked for, for the log.

    Raises:
        ServiceError: the refusal, or the last failure.
    """

    def pause(error: ServiceError, attempt: int) -> float | None:
        told = error.retry_after
        return None if told is None or attempt == _TRIES else min(told, _LONGEST_PAUSE)

    return await _asked(call, what, pause)


async def _asked[T](
    call: Callable[[], Awaitable[T]], what: str, pause_after: Callable[[ServiceError, int], float | None]
) -> T:
    """The answer of a call, asked again after the pause that a failure and its number give; None: it is the last."""
    attempt = 0
    while True:
        try:
            return await call()
        except ServiceError as error:
            attempt += 1
            pause = pause_after(error, attempt)
            if pause is None:
                raise
            log.info("asked again", what=what, code=error.code, attempt=attempt)
        await asyncio.sleep(pause)
