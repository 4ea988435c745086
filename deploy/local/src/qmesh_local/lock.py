"""One supervisor for one home: a file lock that the kernel lets go when its holder ends, however that happens."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE = 0.02


class HeldError(Exception):
    """Another process holds the lock."""


@contextmanager
def held(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Holds the lock; waits for its last holder to end.

    Raises:
        HeldError: it did not in time.
    """
    deadline = time.monotonic() + timeout_seconds
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HeldError(f"another process holds {path}") from None
            time.sleep(_PAUSE)
        yield
