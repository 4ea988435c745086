"""Publishes doorbell rows of jobs that nobody claims at once: what a crash left behind is published by whoever starts next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from qmesh_kit.errors import is_foreseen

log = structlog.get_logger()

_BATCH = 256
_PERIOD = 1.0
_GRACE = 0.02
"""Seconds in which the replica that took a job may claim it: then no bell has to ring for it."""


class OutboxStore(Protocol):
    """Rows that wait to be published."""

    async def drain_outbox(self, limit: int) -> list[tuple[int, str, bytes]]:
        """Oldest rows of jobs that still wait: (id, subject, payload); those of claimed jobs are forgotten."""
        ...

    async def outbox_done(self, ids: Sequence[int]) -> None:
        """Forgets rows that were published."""
        ...


class Publisher(Protocol):
    """A durable work queue."""

    async def publish(self, subject: str, data: bytes, *, msg_id: str) -> None:
        """Publishes once for each message id, and waits for the acknowledgement."""
        ...


class OutboxRelay:
    """Moves rows to the work queue."""

    def __init__(self, store: OutboxStore, publisher: Publisher) -> None:
        """Takes both ends."""
        self._store = store
        self._publisher = publisher
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """A row was written."""
        self._rung.set()

    async def run(self) -> None:
        """Relays until it is cancelled; looks by itself once a second."""
        while True:
            self._rung.clear()
            try:
                while await self._relay():
                    continue
            except Exception as error:
                if not is_foreseen(error):
                    raise
                log.warning("outbox relay interrupted", error=repr(error)[:200])
                await asyncio.sleep(_PERIOD)
            try:
                async with asyncio.timeout(_PERIOD):
                    await self._rung.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_GRACE)

    async def _relay(self) -> bool:
        rows = await self._store.drain_outbox(_BATCH)
        if not rows:
            return False
        async with asyncio.TaskGroup() as group:
            for number, subject, payload in rows:
                group.create_task(self._publisher.publish(subject, payload, msg_id=f"outbox-{number}"))
        await self._store.outbox_done([row[0] for row in rows])
        return len(rows) == _BATCH
