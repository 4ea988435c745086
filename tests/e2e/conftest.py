"""One mesh for the tests that only use it, and a fresh one for those that hurt it.

The shared mesh is a local one of the default topology, or with QMESH_E2E_KUBE the release of a cluster that it names, like
`context/namespace/release`; then the tests of local processes are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmesh_kit.ports import free_port
from tests.mesh import AnyMesh, LocalMesh, local_mesh, release_mesh

RELEASE = os.environ.get("QMESH_E2E_KUBE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a release, only the tests that can use it are run; those of other folders stay."""
    if RELEASE is None:
        return
    here = Path(__file__).parent
    kept = [i for i in items if here not in i.path.parents or "any_mesh" in getattr(i, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """The default mesh, shared; a test leaves it as it found it."""
    with local_mesh(tmp_path_factory.mktemp("mesh"), free_port()) as running:
        yield running


@pytest.fixture(scope="session")
def any_mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyMesh]:
    """The mesh of QMESH_E2E_KUBE, or the default one."""
    if RELEASE is None:
        yield request.getfixturevalue("mesh")
        return
    with release_mesh(RELEASE, tmp_path_factory.mktemp("release")) as running:
        yield running


@pytest.fixture
def own_mesh(tmp_path: Path) -> Iterator[LocalMesh]:
    """A mesh of the default topology for one test."""
    with local_mesh(tmp_path / "home", free_port()) as running:
        yield running
