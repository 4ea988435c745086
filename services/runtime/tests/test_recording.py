"""What is written of a job, when a write before is lost."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from qmesh.events.v1 import events_pb2 as events
from qmesh_runtime.application.recording import JobRecorder
from qmesh_runtime.domain.claim import Change, Claim
from qmesh_runtime.domain.history import JobHistory
from qmesh_runtime.ports import StaleClaimError

_CLAIM = Claim(
    "job", "t", 1, events.JOB_STATUS_QUEUED, 1, 1, 4e9, cancel_requested=False, plan_ids=(), request=b""
)
_STEPS = (events.JOB_STATUS_COMPILING, events.JOB_STATUS_RESERVING, events.JOB_STATUS_EXECUTING)


class _Store:
    """Loses one write."""

    def __init__(self, lost: int, error: Exception) -> None:
        self.asked: list[Change] = []
        self._lost = lost
        self._error = error

    def enqueue(self, change: Change) -> asyncio.Future[None]:
        """Fails in a moment, or is durable in one."""
        self.asked.append(change)
        failure = self._error if len(self.asked) - 1 == self._lost else None
        return asyncio.ensure_future(self._end(failure))

    async def write(self, change: Change) -> None:
        """Makes a change durable."""
        await self.enqueue(change)

    @staticmethod
    async def _end(failure: Exception | None) -> None:
        await asyncio.sleep(0)
        if failure is not None:
            raise failure


def _recorder(store: _Store) -> tuple[JobHistory, JobRecorder]:
    history = JobHistory(_CLAIM)
    return history, JobRecorder(cast("Any", store), history, cast("Any", None), _CLAIM)


@pytest.mark.parametrize("error", [ConnectionError("the server is gone"), StaleClaimError("not mine")])
async def test_nothing_is_written_after_a_write_that_was_lost(error: Exception) -> None:
    """Neither one that waits for what was written before, nor one that does not."""
    store = _Store(0, error)
    history, recorder = _recorder(store)
    recorder.write(history.enter(_STEPS[0]))
    with pytest.raises(StaleClaimError, match=r"server is gone|not mine"):
        await recorder.commit(history.enter(_STEPS[1]))
    with pytest.raises(StaleClaimError):
        recorder.write(history.enter(_STEPS[2]))
    assert len(store.asked) == 1


async def test_each_change_says_what_it_follows() -> None:
    """The numbers of events are a chain, in which a lost link shows."""
    store = _Store(-1, ValueError())
    history, recorder = _recorder(store)
    for step in _STEPS:
        recorder.write(history.enter(step))
    last = history.event(events.JOB_EVENT_TYPE_ANALYZED)
    end = history.enter(events.JOB_STATUS_COMPLETED)
    end.begin_with(last)
    await recorder.commit(end)
    assert [change.after for change in store.asked] == [1, 2, 3, 4]
    assert [[event.sequence for event in change.events] for change in store.asked] == [[2], [3], [4], [5, 6]]


@pytest.mark.parametrize(
    "error", [ConnectionError("the server is gone"), TimeoutError(), StaleClaimError("not mine")]
)
async def test_a_write_that_is_waited_for_is_lost_like_the_others(error: Exception) -> None:
    """A database that goes away, or hangs, ends no job: it is taken up from what is durable."""
    history, recorder = _recorder(_Store(0, error))
    with pytest.raises(StaleClaimError):
        await recorder.commit(history.enter(_STEPS[0]))
