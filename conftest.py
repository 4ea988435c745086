"""Temporary files of a test session."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

_OURS = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A folder of its own: pytest closes the one that a user's sessions share to others, such as PostgreSQL's user, whenever one begins."""
    if config.option.basetemp is None:
        config.option.basetemp = Path(tempfile.mkdtemp(prefix="qmesh-"))
        config.stash[_OURS] = config.option.basetemp


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What a session left is kept only where a test failed."""
    ours = session.config.stash.get(_OURS, None)
    if ours is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(ours, ignore_errors=True)
