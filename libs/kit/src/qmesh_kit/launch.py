"""Child processes of processes that have threads of others, such as those of gRPC: none is started by a fork of ours.

After a fork the child runs the fork handlers of such libraries before its exec. Those of gRPC 1.85 abort one child in
twenty of a parent with live channels, and the parent takes that for a start. Python forks for `preexec_fn` and `user=`
of `subprocess`, and uvloop for every child; without them `subprocess.Popen` uses vfork, which runs no handler.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_IF_CHILD_OF = ("/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


def command_line(
    argv: Sequence[str],
    *,
    user: tuple[int, int] | None = None,
    ends_with_parent: signal.Signals | None = None,
) -> list[str]:
    """What to start instead of a command that changes user or ends with its parent; the pid stays that of the command.

    Both are set by `setpriv` (util-linux) after exec.

    Args:
        argv: the command.
        user: numeric user and group that it runs as, without supplementary groups; ours by default.
        ends_with_parent: the signal that the kernel sends it when the calling thread ends, however that happens. A
            child whose parent has ended before that is set does not run the command.
    """
    options: list[str] = []
    if ends_with_parent is not None:
        options += ["--pdeathsig", ends_with_parent.name.removeprefix("SIG")]
        argv = [*_IF_CHILD_OF, str(os.getpid()), *argv]
    if user is not None:
        options += ["--reuid", str(user[0]), "--regid", str(user[1]), "--clear-groups"]
    return ["setpriv", *options, *argv] if options else list(argv)


@dataclass(frozen=True, slots=True)
class Worker:
    """A child process that answers on a stream, which is its standard input and output.

    Attributes:
        process: the child.
        reader: what it writes.
        writer: what it reads; it should end when that ends.
    """

    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    async def kill(self) -> None:
        """Ends it at once, and waits for that."""
        self.process.kill()
        self.writer.transport.abort()
        await asyncio.to_thread(self.process.wait)


async def start_worker(argv: Sequence[str]) -> Worker:
    """Starts a child process that reads and writes its standard streams.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            end = theirs.fileno()
            process = subprocess.Popen(argv, stdin=end, stdout=end)  # noqa: ASYNC220 - a vfork, 1 ms
    except OSError:
        ours.close()
        raise
    try:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
    except BaseException:
        ours.close()
        process.kill()
        process.wait()
        raise
    return Worker(process, reader, writer)
