"""Live job events: one NATS subscription for the whole gateway, fanned out to its streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol

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


class Delivery(Protocol):
    """What is used of a NATS message."""

    subject: str
    data: bytes


class _Mailbox:
    """Live events of one stream; a full ring loses the newest and says so."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[events.JobEvent] = asyncio.Queue(_RING)
        self.lost = False

    def put(self, event: events.JobEvent) -> None:
        if self.queue.full():
            self.lost = True  # history fills the gap
        else:
            self.queue.put_nowait(event)

    def miss(self) -> None:
        """Events may have been lost."""
        self.lost = True
        self.put(events.JobEvent())  # wakes the stream


class LiveEvents:
    """Routes events to the streams that wait for their job."""

    def __init__(self, clients: Clients, idle_seconds: float) -> None:
        """Takes the clients, for history, and the longest silence on a stream."""
        self._clients = clients
        self._idle = idle_seconds
        self._boxes: dict[str, set[_Mailbox]] = {}
        self._closed = False

    async def deliver(self, message: Delivery) -> None:
        """Takes one NATS message."""
        try:
            event = events.JobEvent.FromString(message.data)
        except DecodeError:
            log.warning("an event that cannot be read was dropped", subject=message.subject)
            return
        for box in self._boxes.get(event.job_id, ()):
            box.put(event)

    def catch_up(self) -> None:
        """Has all streams look at history: the bus was away, and may have lost their events."""
        for boxes in self._boxes.values():
            for box in boxes:
                box.miss()

    def close(self) -> None:
        """Ends all streams at their next event or silence; their readers resume elsewhere."""
        self._closed = True
        for boxes in self._boxes.values():
            for box in boxes:
                box.put(events.JobEvent())

    @contextmanager
    def _mailbox(self, job_id: str) -> Iterator[_Mailbox]:
        box = _Mailbox()
        self._boxes.setdefault(job_id, set()).add(box)
        try:
            yield box
        finally:
            waiting = self._boxes[job_id]
            waiting.discard(box)
            if not waiting:
                del self._boxes[job_id]

    async def stream(
        self, who: caller.Caller, job_id: str, after: int
    ) -> AsyncIterator[events.JobEvent | None]:
        """Every event above a sequence, in order and without gaps; None when nothing happened (yet, or for a while).

        The first item comes as soon as the history was read.

        Raises:
            ServiceError: NOT_FOUND, at the first item, for a job that is not there.
        """
        last, silent = after, True
        with self._mailbox(job_id) as box:
            while not self._closed:
                box.lost = False
                history, final = await self.history(who, job_id, last)
                for event in history:
                    last, silent = event.sequence, False
                    yield event
                if final:
                    return
                if silent:
                    silent = False
                    yield None
                while (found := await self._next(box, last)) is not None and found.sequence == last + 1:
                    last = found.sequence
                    yield found
                    if found.status in TERMINAL:
                        return  # nothing is written after it
                if found is None:
                    yield None

    async def _next(self, box: _Mailbox, last: int) -> events.JobEvent | None:
        """The next live event above a sequence; None after a silence, a loss, or at the end of the gateway."""
        try:
            async with asyncio.timeout(self._idle):
                while not self._closed and not (box.lost and box.queue.empty()):
                    event = await box.queue.get()
                    if event.sequence > last:
                        return event
        except TimeoutError:
            pass
        return None

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
