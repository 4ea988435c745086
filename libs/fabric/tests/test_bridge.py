"""trio in a thread beside asyncio: start, call, post, errors, cancels, and the end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.lowlevel

from qmesh_fabric.bridge import TrioThread
from qmesh_fabric.host import open_host
from qmesh_fabric.identity import Identity

WITHIN = 5.0


@asynccontextmanager
async def app() -> AsyncIterator[str]:
    """An application that does nothing."""
    await trio.lowlevel.checkpoint()
    yield "made"


def dying(end: trio.Event, error: BaseException) -> Callable[[], AbstractAsyncContextManager[str]]:
    """An application whose background task dies when it is told to."""

    @asynccontextmanager
    async def made() -> AsyncIterator[str]:
        async def die() -> None:
            await end.wait()
            raise error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(die)
            yield "made"
            nursery.cancel_scope.cancel()

    return made


@pytest.fixture
async def thread() -> AsyncIterator[TrioThread]:
    """A started thread."""
    made = TrioThread()
    assert await made.start(app) == "made"
    yield made
    await made.stop()


async def settled(thread: TrioThread) -> BaseException | None:
    """How trio ended."""
    assert thread.done is not None
    async with asyncio.timeout(WITHIN):
        return await asyncio.shield(thread.done)


async def test_call_returns_and_raises(thread: TrioThread) -> None:
    """A call runs in trio, in its own thread, and its result or its error comes back."""

    async def work(value: int) -> tuple[int, str]:
        await trio.lowlevel.checkpoint()
        if value < 0:
            raise ValueError("negative")
        return value * 2, threading.current_thread().name

    assert await thread.call(work, 21) == (42, "libp2p")
    with pytest.raises(ValueError, match="negative"):
        await thread.call(work, -1)
    assert await thread.call(work, 1) == (2, "libp2p")


async def test_many_calls_run_side_by_side(thread: TrioThread) -> None:
    """Calls do not wait for each other."""
    gate = trio.Event()

    async def wait() -> bool:
        await gate.wait()
        return True

    waiting = [asyncio.create_task(thread.call(wait)) for _ in range(50)]

    async def opens() -> None:
        gate.set()

    await thread.call(opens)
    async with asyncio.timeout(WITHIN):
        assert await asyncio.gather(*waiting) == [True] * 50


async def test_post_reaches_the_loop(thread: TrioThread) -> None:
    """What trio posts is called on the asyncio loop, in order."""
    queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    def take(number: int) -> None:
        queue.put_nowait((number, threading.current_thread().name))

    async def work() -> None:
        for number in range(3):
            thread.post(take, number)

    await thread.call(work)
    async with asyncio.timeout(WITHIN):
        assert [await queue.get() for _ in range(3)] == [(n, "MainThread") for n in range(3)]


async def test_run_soon_reaches_trio(thread: TrioThread) -> None:
    """A function that is run soon runs in the trio thread."""
    loop = asyncio.get_running_loop()
    where: asyncio.Future[str] = loop.create_future()
    thread.run_soon(lambda: thread.post(where.set_result, threading.current_thread().name))
    async with asyncio.timeout(WITHIN):
        assert await where == "libp2p"


async def test_cancel_crosses_and_is_awaited(thread: TrioThread) -> None:
    """Cancelling an asyncio caller cancels the trio task, and the caller ends after that task has ended."""
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[None] = loop.create_future()
    ended: list[str] = []

    async def work() -> None:
        thread.post(begun.set_result, None)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.05)
            ended.append("cleaned up")

    task = asyncio.create_task(thread.call(work))
    await begun
    task.cancel()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended == ["cleaned up"]


async def test_error_while_cancelled_stays_with_its_call(thread: TrioThread) -> None:
    """A task that fails in a nursery of its own while it is being cancelled does not end trio."""
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            thread.post(begun.set_result, None)
            await trio.sleep_forever()

    task = asyncio.create_task(thread.call(work))
    await begun
    task.cancel()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(asyncio.CancelledError):
            await task

    async def fine() -> str:
        return "fine"

    assert await thread.call(fine) == "fine"


async def test_failed_start_is_raised() -> None:
    """What keeps the application from starting is raised by `start`, and the thread is gone."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        async with trio.open_nursery():
            raise LookupError("no port")
        yield

    thread = TrioThread()
    with pytest.raises(LookupError, match="no port"):
        await thread.start(broken)
    assert isinstance(await settled(thread), LookupError)
    await thread.stop()


async def test_death_of_trio_surfaces() -> None:
    """An error in the application's background sets `done` to it, and calls that wait fail instead of hanging."""
    end = trio.Event()
    thread = TrioThread()
    await thread.start(dying(end, ZeroDivisionError("libp2p died")))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        thread.post(begun.set_result, None)
        await trio.sleep_forever()

    task = asyncio.create_task(thread.call(wait))
    await begun
    thread.run_soon(end.set)
    error = await settled(thread)
    assert isinstance(error, ZeroDivisionError)
    async with asyncio.timeout(WITHIN):
        with pytest.raises(trio.RunFinishedError):
            await task
    with pytest.raises(trio.RunFinishedError):
        await thread.call(wait)
    await thread.stop()


async def test_stop_is_idempotent() -> None:
    """Stop before a start, stop, stop again and two at once all return; the thread has ended and `done` says no error."""
    thread = TrioThread()
    await thread.stop()
    await thread.start(app)
    await asyncio.gather(thread.stop(), thread.stop())
    await thread.stop()
    assert await settled(thread) is None
    assert thread._thread is not None
    assert not thread._thread.is_alive()

    async def late() -> None:
        return

    with pytest.raises(trio.RunFinishedError):
        await thread.call(late)
    with pytest.raises(trio.RunFinishedError):
        thread.run_soon(print)


async def test_stop_ends_calls_that_wait() -> None:
    """A call that waits while trio stops fails with RunFinishedError; one that comes while it ends, too."""
    leaving = threading.Event()
    gate = trio.Event()

    @asynccontextmanager
    async def slow_to_leave() -> AsyncIterator[None]:
        try:
            yield
        finally:
            leaving.set()
            with trio.CancelScope(shield=True):
                await gate.wait()

    thread = TrioThread()
    await thread.start(slow_to_leave)
    waiting = asyncio.create_task(thread.call(trio.sleep_forever))
    stopping = asyncio.create_task(thread.stop())
    assert await asyncio.to_thread(leaving.wait, WITHIN)
    with pytest.raises(trio.RunFinishedError):
        await thread.call(trio.sleep, 0)
    thread.run_soon(gate.set)
    async with asyncio.timeout(WITHIN):
        await stopping
        with pytest.raises(trio.RunFinishedError):
            await waiting


async def test_cancelled_start_leaves_nothing() -> None:
    """A start that is cancelled while the application is being made ends trio, too."""
    entered = threading.Event()

    @asynccontextmanager
    async def never() -> AsyncIterator[None]:
        entered.set()
        await trio.sleep_forever()
        yield

    thread = TrioThread()
    task = asyncio.create_task(thread.start(never))
    assert await asyncio.to_thread(entered.wait, WITHIN)
    task.cancel()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert thread._thread is not None
    assert not thread._thread.is_alive()


async def test_host_behind_the_bridge() -> None:
    """A libp2p host starts, answers for itself and stops through the bridge, and frees its port."""

    def made(listen: str) -> Callable[[], AbstractAsyncContextManager[object]]:
        return lambda: open_host(Identity(b"bridge".ljust(32)), [listen], pubsub="sink")

    thread = TrioThread()
    host = await thread.start(made("/ip4/127.0.0.1/tcp/0"))
    address = host.listen_addrs()[0]  # type: ignore[attr-defined]
    await thread.stop()
    again = TrioThread()
    host = await again.start(made(address.partition("/p2p/")[0]))
    assert host.listen_addrs() == [address]  # type: ignore[attr-defined]
    await again.stop()
