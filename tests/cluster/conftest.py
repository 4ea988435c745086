"""One release of the chart for all tests of this folder, from nothing; they run in the order of the file.

`make cluster-test` runs them: they need a cluster in KUBECONFIG, kubectl, helm, and images that the cluster has.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.forward import Client, Forward
from tests.cluster.kube import CHART, ROOT, Namespace, run

RELEASE = "qmesh"
NAMESPACE = os.environ.get("CLUSTER_NAMESPACE", "qmesh-test")
TAG = os.environ.get("IMAGE_TAG", "dev")
REUSE = os.environ.get("CLUSTER_REUSE") == "1"
_RESULTS: list[tuple[str, str, str]] = []

Note = Callable[[str, float | str], None]


@pytest.hookimpl(trylast=True)
def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """These tests run where they are asked for: by `make cluster-test`."""
    wanted = os.environ.get("CLUSTER_TEST") == "1"
    return None if wanted or collection_path.name == "conftest.py" else True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Notes how long each step took."""
    report = yield
    assert isinstance(report, pytest.TestReport)
    if report.when == "call" or (report.when == "setup" and not report.passed):
        _RESULTS.append((item.name, report.outcome, f"{report.duration:.1f} s"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the times and figures."""
    terminalreporter.write_sep("-", "times")
    for name, outcome, figure in _RESULTS:
        terminalreporter.write_line(f"{name:<64} {outcome:<8} {figure:>10}")


@pytest.fixture(scope="session")
def note() -> Note:
    """Adds a figure to the table: seconds, or any other with its unit."""

    def add(what: str, figure: float | str) -> None:
        _RESULTS.append((f"  {what}", "", figure if isinstance(figure, str) else f"{figure:.1f} s"))

    return add


@pytest.fixture(scope="session")
def namespace(note: Note) -> Iterator[Namespace]:
    """A new namespace with the stores that the mesh needs; removed at the end unless CLUSTER_KEEP is 1.

    With CLUSTER_REUSE=1, for work on a test, the namespace and the release that a run before kept.
    """
    made = Namespace(NAMESPACE)
    if not REUSE:
        made.delete()
        made.create()
    begun = time.monotonic()
    run(str(ROOT / "deploy" / "dependencies" / "install"), NAMESPACE, timeout=180)
    note("stores ready", time.monotonic() - begun)
    yield made
    if os.environ.get("CLUSTER_KEEP") != "1":
        made.delete()


@pytest.fixture(scope="session")
def values() -> list[str]:
    """Values of the release, as words for helm."""
    return ["-f", str(ROOT / "deploy" / "values" / "kind.yaml"), "--set", f"image.tag={TAG}"]


@pytest.fixture(scope="session")
def release(namespace: Namespace, values: list[str], note: Note) -> Namespace:
    """The mesh, installed, every pod Ready."""
    if REUSE and RELEASE in namespace.helm("list", "--short").split():
        return namespace
    begun = time.monotonic()
    namespace.helm("install", RELEASE, str(CHART), *values, "--wait", "--timeout", "120s")
    note("helm install --wait", time.monotonic() - begun)
    return namespace


@pytest.fixture(scope="session")
def client(release: Namespace) -> Iterator[Client]:
    """A client over the port-forward that NOTES and README show."""
    secret = release.get("secret", f"{RELEASE}-api-key")["data"]["api-key"]
    with Forward(NAMESPACE, f"{RELEASE}-gateway", 8080) as forward:
        client = Client(f"http://127.0.0.1:{forward.port}", base64.b64decode(secret).decode())
        with client.mesh:
            yield client
