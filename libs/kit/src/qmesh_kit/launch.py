"""Command lines of child processes that change user, or end with their parent.

Both are set by `setpriv` (util-linux) after exec. Neither `preexec_fn` nor `user=` of `subprocess` is: with either, Python
forks instead of using vfork, and the fork handlers of a library with threads then run in the child. Those of gRPC 1.85
abort one child in twenty, of a parent with live channels, before its exec; the parent takes that for a start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

_IF_CHILD_OF = ("/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


def command_line(
    argv: Sequence[str],
    *,
    user: tuple[int, int] | None = None,
    ends_with_parent: signal.Signals | None = None,
) -> list[str]:
    """What to start instead of a command; the pid stays that of the command.

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
