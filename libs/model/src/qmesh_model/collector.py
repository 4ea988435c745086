"""The garbage collector, while many objects that live are made at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Keeps the collector from walking a growing tree again and again, which makes its cost more than linear.

    Only for what is bounded and ends soon. Where threads overlap, the first that ends starts the collector again for all.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
