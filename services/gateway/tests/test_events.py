import asyncio
import json
from types import ModuleType
from typing import Any

import httpx
import pytest

from qmesh.events.v1 import events_pb2 as events

EXECUTING, COMPLETED = events.JOB_STATUS_EXECUTING, events.JOB_STATUS_COMPLETED


async def _read(answer: httpx.Response, seen: list[int]) -> None:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            seen.append(json.loads(line[6:])["sequence"])  # noqa: PERF401 - read while it grows


async def test_history_and_live_events_join_without_gap_or_duplicate(
    gateway: Any, lab: ModuleType, until: Any
) -> None:
    """Events before, during and after the subscription arrive once each and in order; lost ones come from history."""
    job_id = (await gateway.submit()).json()["job_id"]
    jobs, live = gateway.jobs, gateway.live
    jobs.happened(job_id, 1, EXECUTING)
    seen: list[int] = []

    async def say(sequence: int, status: int = EXECUTING, *, heard: bool = True) -> None:
        event = jobs.happened(job_id, sequence, status)
        if heard:
            await live.deliver(lab.Message(event.SerializeToString()))
            await live.deliver(lab.Message(event.SerializeToString()))  # a bus may repeat itself

    async with (
        asyncio.timeout(10),
        gateway.http.stream("GET", f"/jobs/{job_id}/events") as answer,
        asyncio.TaskGroup() as group,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        group.create_task(_read(answer, seen))
        await until(lambda: seen == [1])
        await say(2)
        await say(3, heard=False)
        await say(4)
        await until(lambda: seen == [1, 2, 3, 4])
        await live.deliver(lab.Message(b"\xff\xff\xff"))
        await say(5, COMPLETED)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?after=2", {}), ("", {"last-event-id": "2"}), ("?after=1", {"last-event-id": "2"})],
)
async def test_stream_resumes_after_a_sequence(gateway: Any, query: str, headers: dict[str, str]) -> None:
    """A reader that comes back names the last event that it saw and gets the rest."""
    job_id = (await gateway.submit()).json()["job_id"]
    for sequence in (1, 2, 3):
        gateway.jobs.happened(job_id, sequence, EXECUTING)
    gateway.jobs.happened(job_id, 4, COMPLETED)
    answer = await gateway.http.get(f"/jobs/{job_id}/events{query}", headers=headers)
    assert [line for line in answer.text.splitlines() if line.startswith("id:")] == ["id: 3", "id: 4"]


@pytest.mark.parametrize("odd", ["²", "-1", "1e3", "9" * 30, "x"])
async def test_odd_last_event_id_reads_from_the_start(gateway: Any, odd: str) -> None:
    """A Last-Event-ID that no stream gave is ignored, never a 5xx."""
    job_id = (await gateway.submit()).json()["job_id"]
    gateway.jobs.happened(job_id, 1, COMPLETED)
    answer = await gateway.http.get(
        f"/jobs/{job_id}/events", headers={"last-event-id": odd.encode("latin-1", "replace")}
    )
    assert "id: 1" in answer.text


@pytest.mark.parametrize("odd", ["-1", "x", "1e300", "9" * 300])
async def test_odd_after_is_422(gateway: Any, odd: str) -> None:
    """`after` is a sequence."""
    job_id = (await gateway.submit()).json()["job_id"]
    answer = await gateway.http.get(f"/jobs/{job_id}/events", params={"after": odd})
    assert answer.status_code == 422


async def test_more_events_than_a_ring_holds_arrive_all(gateway: Any, lab: ModuleType, until: Any) -> None:
    """A burst beyond the ring of a stream is filled up from history at once."""
    job_id = (await gateway.submit()).json()["job_id"]
    seen: list[int] = []
    async with (
        asyncio.timeout(10),
        gateway.http.stream("GET", f"/jobs/{job_id}/events") as answer,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_read(answer, seen))
        await until(lambda: gateway.jobs.reads == 1)
        for sequence in range(1, 1001):
            event = gateway.jobs.happened(job_id, sequence, EXECUTING if sequence < 1000 else COMPLETED)
            await gateway.live.deliver(lab.Message(event.SerializeToString()))
    assert seen == list(range(1, 1001))


async def test_silence_is_marked_and_history_is_looked_at_again(start: Any) -> None:
    """An event that the bus lost altogether still arrives after a silence."""
    async with start(stream_idle="50ms") as gateway:
        job_id = (await gateway.submit()).json()["job_id"]
        lines: list[str] = []
        async with asyncio.timeout(5), gateway.http.stream("GET", f"/jobs/{job_id}/events") as answer:
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == ": still here":
                    gateway.jobs.happened(job_id, 1, COMPLETED)
        assert "id: 1" in lines


async def test_what_a_bus_lost_while_it_was_away_comes_from_history(gateway: Any, until: Any) -> None:
    """When the bus is back, streams do not wait for their next silence."""
    job_id = (await gateway.submit()).json()["job_id"]
    seen: list[int] = []
    async with (
        asyncio.timeout(10),  # the silence is longer
        gateway.http.stream("GET", f"/jobs/{job_id}/events") as answer,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_read(answer, seen))
        await until(lambda: gateway.jobs.reads == 1)
        gateway.jobs.happened(job_id, 1, EXECUTING)
        gateway.jobs.happened(job_id, 2, COMPLETED)
        gateway.live.catch_up()
    assert seen == [1, 2]


async def test_closing_gateway_ends_its_streams(gateway: Any, until: Any) -> None:
    """A stream ends when the gateway does, instead of holding up its drain."""
    job_id = (await gateway.submit()).json()["job_id"]
    async with asyncio.timeout(5), gateway.http.stream("GET", f"/jobs/{job_id}/events") as answer:
        await until(lambda: gateway.jobs.reads == 1)
        gateway.live.close()
        assert "data:" not in (await answer.aread()).decode()
