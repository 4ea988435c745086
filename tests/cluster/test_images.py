"""What is in the images, as a pod under Pod Security restricted sees it: the closure of the part's lock, and nothing to build with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.conftest import TAG, Note
from tests.cluster.kube import ROOT, Namespace, eventually

pytestmark = pytest.mark.timeout(300)

MB = 1_000_000
BUDGETS = {
    "gateway": 140, "planner": 140, "reservation": 140, "registry": 260, "runtime": 260, "node": 260, "analyzer": 420,
}  # fmt: skip
"""Megabytes over the base image; the job that makes keys has no budget of its own."""
PARTS = (*BUDGETS, "keys")
FABRIC = {"registry", "runtime", "node"}
PROGRAM = """
import importlib.metadata, json, os, pathlib, shutil, sys
packages = pathlib.Path("/opt/qmesh/lib/python3.12/site-packages")
def size(folder, wanted=lambda path: True):
    return sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir() and wanted(p))
def refuses(path):
    try:
        path.write_text("x")
    except OSError as error:
        return error.errno
sources = [p for p in packages.rglob("*.py") if "__pycache__" not in p.parts]
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "root": [refuses(pathlib.Path(p) / "x") for p in ("/", "/opt/qmesh", "/usr/local/lib/python3.12")],
    "installed": sorted(d.metadata["Name"].lower().replace("_", "-") for d in importlib.metadata.distributions()),
    "listed": sorted(c["name"].lower().replace("_", "-") for c in json.load(open("/opt/qmesh/sbom.cdx.json"))["components"]),
    "tools": [t for t in ("pip", "pip3", "gcc", "cc", "g++", "make", "git", "uv") if shutil.which(t)],
    "tests": [str(p) for p in packages.rglob("tests") if p.is_dir()],
    "uncompiled": [str(p) for p in sources
                   if not (p.parent / "__pycache__" / f"{p.stem}.{sys.implementation.cache_tag}.pyc").exists()],
    "bytes": size(pathlib.Path("/opt/qmesh")) + size(pathlib.Path("/usr/local/lib"), lambda p: p.suffix == ".pyc"),
}))
"""


def _locked(part: str) -> set[str]:
    """Names that the lock of a part pins."""
    text = (ROOT / "locks" / f"{part}.txt").read_text()
    return {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def look(namespace: Namespace) -> Callable[[str], dict[str, Any]]:
    """Runs the program in the image of a part."""

    def run(part: str) -> dict[str, Any]:
        name = f"image-{part}"
        security = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "look",
                    "image": f"docker.io/qmesh/{part}:{TAG}",
                    "command": ["python", "-I", "-c", PROGRAM],
                    "securityContext": security,
                }
            ],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        namespace.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        try:
            phase = eventually(
                60,
                f"{name} has ended",
                lambda: {"Succeeded": "Succeeded", "Failed": "Failed"}.get(
                    namespace.get("pod", name)["status"]["phase"]
                ),
            )
            said = namespace.kubectl("logs", name)
            assert phase == "Succeeded", said
        finally:
            namespace.kubectl("delete", "pod", name, "--grace-period=0", "--force")
        found: dict[str, Any] = json.loads(said)
        return found

    return run


@pytest.mark.parametrize("part", PARTS)
def test_an_image_holds_its_closure_only(
    look: Callable[[str], dict[str, Any]], note: Note, part: str
) -> None:
    """Packages are those of the lock and of the workspace, as the bill of materials says; nothing can build or be written."""
    found = look(part)
    foreign = {name for name in found["installed"] if not name.startswith("qmesh-")}
    assert foreign <= _locked(part)
    assert set(found["listed"]) == set(found["installed"])
    assert f"qmesh-{part}" in found["installed"]
    assert ("qiskit" in foreign) == (part == "analyzer")
    assert ("libp2p" in foreign) == (part in FABRIC)
    assert found["user"] == [65532, 65532]
    assert None not in found["root"]
    assert found["tools"] == []
    assert found["tests"] == []
    assert found["uncompiled"] == []
    megabytes = found["bytes"] / MB
    note(f"image {part} over its base", f"{megabytes:.0f} MB")
    assert megabytes <= BUDGETS.get(part, megabytes)
