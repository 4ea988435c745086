"""Tells the world what became durable: live events on the bus, lines in the peer log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qmesh.events.v1 import events_pb2 as events
from qmesh_kit.bus import Bus
from qmesh_kit.ledger import Ledger
from qmesh_runtime.domain.claim import Change
from qmesh_runtime.domain.history import status_name
from qmesh_runtime.ports import NewJob

SUBJECT = "qmesh.events.jobs"


class EventEmitter:
    """Takes committed writes in order."""

    def __init__(self, bus: Bus, ledger: Ledger) -> None:
        """Takes the bus and the ledger."""
        self._bus = bus
        self._ledger = ledger
        self._queue: asyncio.Queue[events.JobEvent] = asyncio.Queue()

    def committed(self, items: Sequence[NewJob | Change]) -> None:
        """Called after each commit."""
        for item in items:
            for event in item.events if isinstance(item, Change) else (item.event,):
                self._queue.put_nowait(event)

    async def run(self) -> None:
        """Emits until it is cancelled; whoever misses an event reads it from history."""
        while True:
            event = await self._queue.get()
            await self._bus.emit(f"{SUBJECT}.{event.job_id}", event.SerializeToString())
            self._ledger.append(
                "job_event",
                {
                    "job_id": event.job_id,
                    "sequence": event.sequence,
                    "type": events.JobEventType.Name(event.type),
                    "status": status_name(event.status),
                    "node_id": event.node_id,
                    "fragment": event.fragment,
                    "error": event.error.code,
                },
            )
