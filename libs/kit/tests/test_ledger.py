"""The peer log: what was flushed is there, what was damaged is seen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from qmesh_kit.ledger import Ledger, verify


def written(path: Path, lines: int) -> bytes:
    """A log of so many lines."""
    ledger = Ledger(path)
    for number in range(lines):
        ledger.append("event", {"number": number})
    ledger.flush_blocking()
    ledger.close()
    return path.read_bytes()


def test_flushed_lines_are_on_disk(tmp_path: Path) -> None:
    """After a flush every line is in the file, and the chain is whole."""
    written(tmp_path / "log", 50)
    report = verify(tmp_path / "log")
    assert report.intact
    assert report.lines == 50


def test_cut_at_every_byte_keeps_the_longest_prefix(tmp_path: Path) -> None:
    """A file that was cut anywhere has all its whole lines, and no more."""
    data = written(tmp_path / "log", 8)
    path = tmp_path / "cut"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert verify(path).lines == data[:size].count(b"\n")


def test_flipped_bits_are_seen(tmp_path: Path) -> None:
    """Every one of 300 single flipped bits is reported."""
    data = written(tmp_path / "log", 20)
    path, draw = tmp_path / "flipped", random.Random(1)
    for _ in range(300):
        place = draw.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :])
        report = verify(path)
        assert not report.intact or report.lines < 20, place


def test_log_goes_on_after_a_torn_tail(tmp_path: Path) -> None:
    """A writer that finds half a line continues behind the last whole one."""
    data = written(tmp_path / "log", 5)
    (tmp_path / "log").write_bytes(data[:-7])
    written(tmp_path / "log", 3)
    report = verify(tmp_path / "log")
    assert report.intact
    assert report.lines == 7


def test_log_has_one_writer(tmp_path: Path) -> None:
    """A second process that opens the same log is refused, and harms nothing; after the first one it may."""
    first = Ledger(tmp_path / "log")
    first.append("kind", {"n": 1})
    with pytest.raises(ValueError, match="another process writes"):
        Ledger(tmp_path / "log")
    first.append("kind", {"n": 2})
    first.close()
    assert verify(tmp_path / "log").lines == 2
    Ledger(tmp_path / "log").close()


@pytest.mark.parametrize("kind", ["", "x" * 10])
def test_sequence_numbers_rise(tmp_path: Path, kind: str) -> None:
    """Appending returns the number of the line."""
    ledger = Ledger(tmp_path / "log")
    assert [ledger.append(kind or "event", {}) for _ in range(3)] == [1, 2, 3]
    ledger.close()
