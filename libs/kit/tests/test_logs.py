"""Logs: one JSON line each, also for what libraries say."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from qmesh_kit import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logging of a process, into memory; undone afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    out = io.StringIO()
    logs.configure("test", stream=out)
    yield out
    root.handlers, root.level = before, level
    structlog.reset_defaults()


def test_warnings_of_libraries_become_lines(stream: io.StringIO) -> None:
    """A library that warns through the standard module must never make the call fail in which it does."""
    logging.getLogger("psycopg.pool").warning("discarding closed connection: %s", "x")
    line = json.loads(stream.getvalue().splitlines()[-1])
    assert line["event"] == "discarding closed connection: x"
    assert line["logger"] == "psycopg.pool"


def test_foreign_text_stays_on_one_line(stream: io.StringIO) -> None:
    """Line breaks and control characters in values cannot forge lines."""
    structlog.get_logger().info("event", peer="a\nb\x1b[31m")
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line
