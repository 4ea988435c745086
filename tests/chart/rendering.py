"""The chart as Kubernetes gets it: rendered by helm, read as objects."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "qmesh"
CASES = sorted((CHART / "ci").glob("*.yaml"))
DEPLOYED = sorted((ROOT / "deploy" / "values").glob("*.yaml"))
KUBERNETES = ("1.33", "1.34", "1.35")

Object = dict[str, Any]


class RefusedError(Exception):
    """helm did not render the chart; holds what it said."""


def helm() -> str | None:
    """Path of helm; None without one."""
    return shutil.which("helm")


def render(*words: str, chart: Path = CHART, version: str = KUBERNETES[1]) -> list[Object]:
    """Objects of a release called qmesh.

    Raises:
        RefusedError: the values or the chart are refused.
    """
    program = helm()
    assert program is not None, "helm is not on PATH"
    command = [
        program,
        "template",
        "qmesh",
        str(chart),
        "--namespace",
        "lab",
        "--kube-version",
        version,
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RefusedError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pod_of(found: Object) -> Object | None:
    """The pod that an object is or makes; None for other objects."""
    if found["kind"] == "Pod":
        return found
    if found["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
        template: Object = found["spec"]["template"]
        return template
    return None
