"""One mesh of the default topology for the tests that only use it, and a fresh one for those that hurt it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh import LocalMesh, free_port, local_mesh


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """The default mesh, shared; a test leaves it as it found it."""
    with local_mesh(tmp_path_factory.mktemp("mesh"), free_port()) as running:
        yield running


@pytest.fixture
def own_mesh(tmp_path: Path) -> Iterator[LocalMesh]:
    """A mesh of the default topology for one test."""
    with local_mesh(tmp_path / "home", free_port()) as running:
        yield running
