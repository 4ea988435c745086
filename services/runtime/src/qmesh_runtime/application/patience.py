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
    attempt = 0
    while True:
        try:
            return await call()
        except ServiceError as error:
            attempt += 1
            pause = policy.pause(attempt)
            if error.code not in AWAY or time.time() + pause >= until:
                raise
            log.info("asked again", what=what, code=error.code, attempt=attempt)
        await asyncio.sleep(pause)


async def if_told[T](call: Callable[[], Awaitable[T]], what: str) -> T:
    """The answer of a call that a job can do without: asked again, three times in all, where a refusal says when.

    Args:
        call: makes one attempt.
        what: what is asked for, for the log.

    Raises:
        ServiceError: the refusal, or the last failure.
    """
    tries = 0
    while True:
        try:
            return await call()
        except ServiceError as error:
            tries += 1
            if error.retry_after is None or tries == _TRIES:
                raise
            pause = min(error.retry_after, _LONGEST_PAUSE)
            log.info("asked again", what=what, code=error.code, attempt=tries)
        await asyncio.sleep(pause)
