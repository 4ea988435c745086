"""Live job events: one NATS subscription for the whole gateway, fanned out to its streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.events.v1 import events_pb2 as events
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_gateway.adapters.clients import Clients

log = structlog.get_logger()

SUBJECT = "qmesh.events.jobs.>"
_RING = 256
TERMINAL = frozenset({events.JOB_STATUS_COMPLETED, events.JOB_STATUS_FAILED, events.JOB_STATUS_CANCELED})


class LiveEvents:
    """Routes events to the streams that wait for their job."""

    def __init__(self, clients: Clients, idle_seconds: float) -> None:
        """Takes the clients, for history, and the longest silence on a stream."""
        self._clients = clients
        self._idle = idle_seconds
        self._queues: dict[str, set[asyncio.Queue[events.JobEvent]]] = {}

    async def deliver(self, message: Any) -> None:
        """Takes one NATS message."""
        try:
            event = events.JobEvent.FromString(message.data)
        except DecodeError:
            log.warning("an event that cannot be read was dropped", subject=message.subject)
            return
        for queue in self._queues.get(event.job_id, ()):
            if not queue.full():  # a full ring shows as a gap, which history fills
                queue.put_nowait(event)

    @contextmanager
    def _queue(self, job_id: str) -> Any:
        queue: asyncio.Queue[events.JobEvent] = asyncio.Queue(_RING)
        self._queues.setdefault(job_id, set()).add(queue)
        try:
            yield queue
        finally:
            waiting = self._queues[job_id]
            waiting.discard(queue)
            if not waiting:
                del self._queues[job_id]

    async def stream(
        self, who: caller.Caller, job_id: str, after: int
    ) -> AsyncIterator[events.JobEvent | None]:
        """Every event above a sequence, in order and without gaps; None when nothing happened for a while."""
        last = after
        with self._queue(job_id) as queue:
            while True:
                history, final = await self.history(who, job_id, last)
                for event in history:
                    last = event.sequence
                    yield event
                if final:
                    return
                async for event in self._live(queue, last):
                    if event is None:
                        yield None
                        break
                    if event.sequence > last + 1:
                        break
                    last = event.sequence
                    yield event

    async def _live(
        self, queue: asyncio.Queue[events.JobEvent], last: int
    ) -> AsyncIterator[events.JobEvent | None]:
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    event = await queue.get()
            except TimeoutError:
                yield None
                return
            if event.sequence <= last:
                continue
            yield event
            last = event.sequence
            if event.status in TERMINAL:
                return

    async def history(
        self, who: caller.Caller, job_id: str, after: int
    ) -> tuple[list[events.JobEvent], bool]:
        """Stored events above a sequence, and whether the job has ended."""
        request = runtime.EventsRequest(caller=who, job_id=job_id, after=after)
        found: list[events.JobEvent] = []
        final = False
        async for part in self._clients.runtime.Events(request, timeout=self._clients.timeout):
            found.extend(part.events)
            final = part.final
        return found, final
