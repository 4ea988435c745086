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


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to postgresql://writer:hunter2pass@db.example:5432/qmesh",
        "nats://token:hunter2pass@bus:4222, nats://token:hunter2pass@other:4222",
        "refused: Authorization: Bearer hunter2pass.abc",
        "x" * 250 + " postgresql://writer:hunter2pass@db/qmesh",
    ],
)
def test_credentials_inside_text_are_not_shown(stream: io.StringIO, text: str) -> None:
    """Passwords of addresses and bearer tokens are redacted in messages, values and tracebacks."""
    log = structlog.get_logger()
    log.error("failed", cause=text, several=[text], exc_info=ConnectionError(text))
    logging.getLogger("library").warning("failed: %s", text)
    assert len(stream.getvalue().splitlines()) == 2
    assert "hunter2" not in stream.getvalue()
    assert "redacted" in stream.getvalue()
