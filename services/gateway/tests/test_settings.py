import subprocess
import sys
from pathlib import Path

import pytest

BASE = {"QMESH_NATS__URL": "nats://127.0.0.1:1", "PATH": "/usr/bin:/bin"}


def _start(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qmesh_gateway"],
        env=BASE | variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QMESH_GATWAY__PORT", "hunter2"),
        ("QMESH_GATEWAY__PROT", "hunter2"),
        ("QMESH_GATEWAY__CALL_TIMEOUT", "10"),
        ("QMESH_GATEWAY__PORT", "70000"),
        ("QMESH_GATEWAY__API_KEY_FILE", "/nonexistent/hunter2"),
    ],
)
def test_bad_setting_ends_with_78_and_the_name(name: str, value: str) -> None:
    """A misspelled name, a missing unit, a port out of range or an unreadable secret stops the process by name."""
    ended = _start(**{name: value})
    assert ended.returncode == 78
    assert name in ended.stderr
    assert value not in ended.stderr


def test_no_key_beyond_loopback_is_refused() -> None:
    """A gateway without a key listens on loopback only."""
    ended = _start(QMESH_GATEWAY__HOST="0.0.0.0")  # noqa: S104 - it must not get this far
    assert ended.returncode == 78
    assert "QMESH_GATEWAY__API_KEY" in ended.stderr


def test_missing_bus_url_is_named_and_the_key_in_a_file_stays_secret(tmp_path: Path) -> None:
    """Without the bus's URL the process stops by its name; a key that was read from a file is not shown."""
    key = tmp_path / "key"
    key.write_text("a-bootstrap-key-from-a-file\n")
    ended = _start(QMESH_NATS__URL="", QMESH_GATEWAY__API_KEY_FILE=str(key))
    assert ended.returncode == 78
    assert "QMESH_NATS" in ended.stderr
    assert "bootstrap-key" not in ended.stderr + ended.stdout
