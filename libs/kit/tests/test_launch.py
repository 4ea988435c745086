"""Child processes of processes that have threads."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import grpc
import pytest
import uvloop

from qmesh_kit.launch import command_line, start_worker

_STARTS = 100
_WORD = ("/bin/sh", "-c", "exit 7")
_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change user")


def _found(user: tuple[int, int] | None, number: signal.Signals) -> dict[str, str]:
    """What a child finds of itself."""
    command = command_line(["setpriv", "--dump"], user=user, ends_with_parent=number)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=30)
    return {name: value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}


def test_a_plain_command_stays_as_it_is() -> None:
    """Nothing is started in between without need."""
    assert command_line(_WORD) == list(_WORD)


def test_the_signal_of_the_parents_end_is_set() -> None:
    """The command keeps the user, and has the signal."""
    found = _found(None, signal.SIGTERM)
    assert found["Parent death signal"] == "TERM"
    assert (found["uid"], found["euid"]) == (str(os.getuid()), str(os.geteuid()))


@_AS_ROOT
def test_user_and_signal_are_set_together() -> None:
    """A change of user clears the signal in Linux, so the signal comes after."""
    found = _found((65534, 65533), signal.SIGKILL)
    assert found["Parent death signal"] == "KILL"
    assert [found[name] for name in ("uid", "euid", "gid", "egid")] == ["65534", "65534", "65533", "65533"]
    assert found["Supplementary groups"] == "[none]"


def test_a_child_whose_parent_has_ended_does_not_run() -> None:
    """The signal cannot come any more, so the command is not run."""
    command = command_line(_WORD, ends_with_parent=signal.SIGKILL)
    assert subprocess.run(command, check=False, timeout=30).returncode == 7
    orphaned = [word if word != str(os.getpid()) else "1000000000" for word in command]
    assert subprocess.run(orphaned, check=False, timeout=30).returncode == 1


async def _call(channel: grpc.aio.Channel) -> None:
    """Calls without end."""
    method = channel.unary_unary("/qmesh.Nothing/Call", lambda data: data, lambda data: data)
    while True:
        with pytest.raises(grpc.aio.AioRpcError):
            await method(b"", timeout=5)


async def test_every_child_of_a_process_with_live_channels_runs() -> None:
    """No code of a library with threads runs between the start of a child and its exec."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    command = command_line(
        _WORD,
        user=(65534, 65534) if os.geteuid() == 0 else None,
        ends_with_parent=signal.SIGKILL,
    )

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [asyncio.create_task(_call(channel)) for _ in range(4)]
        ends = []
        for _ in range(_STARTS):
            child = await asyncio.create_subprocess_exec(*command)
            ends.append(await child.wait())
        for task in calls:
            task.cancel()
        await asyncio.wait(calls)
    await server.stop(None)
    assert ends == [7] * _STARTS


async def _answering(port: int) -> list[bytes]:
    """What workers answer that are started while channels are used."""
    answers = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [asyncio.create_task(_call(channel)) for _ in range(4)]
        for _ in range(_STARTS):
            worker = await start_worker(["/bin/cat"])
            worker.writer.write(b"word")
            try:
                answers.append(await worker.reader.readexactly(4))
            except asyncio.IncompleteReadError as error:
                answers.append(error.partial)
            assert worker.lives
            await worker.kill()
            assert worker.process.returncode == -signal.SIGKILL
        for task in calls:
            task.cancel()
        await asyncio.wait(calls)
    return answers


def test_workers_answer_on_the_loop_of_services() -> None:
    """The loop's own way to start a child, a fork, is not used: every worker answers, and is gone when it is killed."""

    async def body() -> list[bytes]:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await _answering(port)
        finally:
            await server.stop(None)

    assert uvloop.run(body()) == [b"word"] * _STARTS


async def test_a_worker_ends_with_what_it_reads() -> None:
    """A parent that dies leaves no worker; one that cannot be started is an error here."""
    worker = await start_worker(["/bin/cat"])
    worker.writer.close()
    assert await worker.reader.read() == b""
    assert await asyncio.to_thread(worker.process.wait, 30) == 0
    with pytest.raises(FileNotFoundError):
        await start_worker(["/nowhere/at/all"])
