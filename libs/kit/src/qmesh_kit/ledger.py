"""Append-only peer log: JSON lines with length, CRC-32 and a hash chain, made durable in groups by a thread.

Line: `<length> <crc32 hex> <json>` where the JSON has `seq`, `prev` (SHA-256 of the line before), `at`, `kind`, `body`.
An error while making lines durable is fatal: a log that may have holes is worse than a process that stopped.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import sys
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

GENESIS = "0" * 64
_FATAL = 74  # EX_IOERR
_TORN = "the last line is torn"


@dataclass(frozen=True, slots=True)
class Report:
    """What a log holds."""

    lines: int
    valid_bytes: int
    total_bytes: int
    head: str
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Every byte belongs to a valid line."""
        return self.valid_bytes == self.total_bytes


def _frame(payload: bytes) -> bytes:
    return b"%d %08x %s\n" % (len(payload), zlib.crc32(payload), payload)


def _parse(line: bytes) -> dict[str, Any]:
    """The record of one line without its newline.

    Raises:
        ValueError: the line is damaged.
    """
    length, crc, payload = line.split(b" ", 2)
    if len(payload) != int(length) or zlib.crc32(payload) != int(crc, 16):
        raise ValueError("length or checksum does not match")
    record = orjson.loads(payload)
    if not isinstance(record, dict):
        raise ValueError("a line is no object")  # noqa: TRY004 - a line of a file is foreign data, not a programming error
    return record


def verify(path: Path) -> Report:
    """Checks a log from its beginning; the longest valid prefix is what counts."""
    data = path.read_bytes() if path.exists() else b""
    head, position, lines = GENESIS, 0, 0
    problem = ""
    while position < len(data):
        end = data.find(b"\n", position)
        if end < 0:
            problem = _TORN
            break
        line = data[position:end]
        try:
            record = _parse(line)
            if record.get("prev") != head or record.get("seq") != lines + 1:
                raise ValueError("the chain is broken")  # noqa: TRY301 - one handler names the line
        except ValueError as error:
            problem = f"line {lines + 1}: {error}"
            break
        head = hashlib.sha256(line).hexdigest()
        position, lines = end + 1, lines + 1
    return Report(lines, position, len(data), head, problem)


def _own(descriptor: int, path: Path) -> Report:
    """Makes this process the log's only writer and cuts a torn tail off.

    Raises:
        ValueError: the log is damaged before its end, or another process writes it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{path.name}: another process writes this log") from None
    report = verify(path)
    if not report.intact and report.problem != _TORN:
        raise ValueError(f"{path.name}: {report.problem}")
    os.ftruncate(descriptor, report.valid_bytes)
    return report


class Ledger:
    """One log with one writer; usable from asyncio, trio and threads."""

    def __init__(self, path: Path) -> None:
        """Opens a log; a torn tail is cut off, other damage is refused.

        Raises:
            ValueError: the log is damaged before its end, or another process writes it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            report = _own(self._descriptor, path)
        except ValueError:
            os.close(self._descriptor)
            raise
        self._head, self._sequence = report.head, report.lines
        self._pending = bytearray()
        self._appended = self._durable = report.lines
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Appends a line, durable soon; returns its sequence."""
        with self._changed:
            self._sequence += 1
            record = {
                "seq": self._sequence,
                "prev": self._head,
                "at": time.time(),
                "kind": kind,
                "body": dict(body),
            }
            frame = _frame(orjson.dumps(record, default=str))
            self._head = hashlib.sha256(frame[:-1]).hexdigest()
            self._pending += frame
            self._appended = self._sequence
            self._changed.notify_all()
            return self._sequence

    def flush_blocking(self, timeout_seconds: float = 10.0) -> None:
        """Blocks until everything appended so far is on disk.

        Raises:
            TimeoutError: the disk is too slow.
        """
        with self._changed:
            wanted = self._appended
            if not self._changed.wait_for(lambda: self._durable >= wanted, timeout_seconds):
                raise TimeoutError("the ledger could not be made durable in time")

    async def flush(self, timeout_seconds: float = 10.0) -> None:
        """Waits until everything appended so far is on disk."""
        await asyncio.to_thread(self.flush_blocking, timeout_seconds)

    def close(self) -> None:
        """Makes everything durable and ends the writer."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        os.close(self._descriptor)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    return
                data, self._pending = bytes(self._pending), bytearray()
                sequence = self._appended
            try:
                _write_all(self._descriptor, data)
                os.fdatasync(self._descriptor)
            except OSError as error:
                sys.stderr.write(f"ledger: cannot be made durable: {error.strerror}\n")
                os._exit(_FATAL)
            with self._changed:
                self._durable = sequence
                self._changed.notify_all()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
