"""Leases: a job that lost its own stops, one that has ended gives back what it held."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qmesh_runtime.application.worker import Worker, _Running
from qmesh_runtime.ports import StaleClaimError


class _Store:
    """Knows of no lease."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.often = asyncio.Event()
        self.given_back: list[Any] = []

    async def heartbeat(self, claims: list[Any]) -> set[str]:
        """None of the leases is held."""
        self.asked.append(len(claims))
        if len(self.asked) == 3:
            self.often.set()
        return set()

    async def let_go(self, claims: list[Any]) -> None:
        """Takes leases back, unless the database is away."""
        self.given_back += claims
        raise ConnectionError


@pytest.mark.parametrize("ended", [False, True])
async def test_only_a_job_that_goes_on_is_stopped_without_its_lease(ended: bool) -> None:
    """A job in its last state has no lease any more, and its reservations still have to be closed."""
    store, go = _Store(), asyncio.Event()
    worker = Worker(cast("Any", None), cast("Any", store), 0.03, 4)

    async def keep() -> None:
        return

    processor = SimpleNamespace(ended=ended, keep=keep)
    task = asyncio.create_task(cast("Any", go.wait()))
    worker._running["job"] = _Running(cast("Any", None), cast("Any", processor), task)
    beat = asyncio.create_task(worker._beat())
    async with asyncio.timeout(10):
        await store.often.wait()
    assert task.cancelled() is not ended
    go.set()
    if ended:
        await task
    beat.cancel()


async def test_a_job_that_cannot_go_on_is_for_whoever_comes_first() -> None:
    """Its lease is given back at once; that this may fail ends nothing."""
    store, claim = _Store(), SimpleNamespace(job_id="job", fence=1)
    worker = Worker(cast("Any", None), cast("Any", store), 0.03, 4)

    async def process() -> None:
        raise StaleClaimError("a write was lost")

    await worker._process(cast("Any", SimpleNamespace(process=process)), cast("Any", claim))
    assert store.given_back == [claim]
