"""What cannot run on every machine fits what can: skaffold, kind and the workflows name parts, files and scripts that are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart.rendering import CHART, KUBERNETES, helm, pod_of, render

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
KIND = ROOT / "deploy" / "kind"
STORES = sorted((ROOT / "deploy" / "dependencies").glob("*.yaml"))


def _skaffold() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    return found


def _parts() -> set[str]:
    """The parts that deploy/docker/build knows."""
    listed = re.search(r"^all=\(([a-z ]+)\)$", (ROOT / "deploy/docker/build").read_text(), re.MULTILINE)
    assert listed is not None
    return set(listed[1].split())


def test_skaffold_builds_every_part() -> None:
    """Every image is an artifact with its source, and its tag reaches the chart."""
    artifacts = {a["image"]: a["docker"] for a in _skaffold()["build"]["artifacts"]}
    assert artifacts.keys() == {f"docker.io/qmesh/{part}" for part in _parts()}
    for image, docker in artifacts.items():
        assert (ROOT / docker["dockerfile"]).is_file()
        assert (ROOT / docker["buildArgs"]["SOURCE"] / "pyproject.toml").is_file()
        assert image.endswith(f"/{docker['buildArgs']['PART']}")
    (release,) = _skaffold()["deploy"]["helm"]["releases"]
    assert release["setValueTemplates"] == {
        f"image.tags.{part}": f"{{{{.IMAGE_TAG_docker_io_qmesh_{part}}}}}" for part in _parts()
    }


def test_skaffold_names_files_that_are_there() -> None:
    """Chart, values and hooks exist, in every profile."""
    found = _skaffold()
    (release,) = found["deploy"]["helm"]["releases"]
    files = [release["chartPath"], *release["valuesFiles"]]
    files += [hook["host"]["command"][0] for hook in found["deploy"]["helm"]["hooks"]["before"]]
    for profile in found["profiles"]:
        files += [patch["value"] for patch in profile["patches"] if "valuesFiles" in patch["path"]]
    assert len(files) == 5
    assert all((ROOT / file).exists() for file in files), files


@pytest.mark.skipif(helm() is None, reason="helm is not on PATH: the chart was not rendered")
@pytest.mark.parametrize("over", ["small", "plain"])
def test_a_profile_of_skaffold_renders(over: str) -> None:
    """The values of a profile are accepted over those of kind, with a tag for each part."""
    words = ["-f", str(ROOT / "deploy/values/kind.yaml"), "-f", str(ROOT / f"deploy/values/over/{over}.yaml")]
    for part in sorted(_parts()):
        words += ["--set", f"image.tags.{part}=made-{part}"]
    images = re.findall(r"'image': '([^']+)'", str(render(*words)))
    assert {image.rpartition("/")[2] for image in images} == {f"{part}:made-{part}" for part in _parts()}
    assert ROOT / _skaffold()["deploy"]["helm"]["releases"][0]["chartPath"] == CHART


def _zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("zizmor"))
    command = [program, "--offline", "--no-progress", "--persona=pedantic", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("file", "sane", "mad", "audit"),
    [
        ("check.yml", "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "actions/checkout@v5", "unpinned-uses"),
        ("check.yml", "permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("cluster.yml", "persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("cluster.yml", "  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("cluster.yml", "make cluster-test", 'echo "${{ github.head_ref }}"', "template-injection"),
    ],
)  # fmt: skip
def test_a_weak_workflow_is_caught(tmp_path: Path, file: str, sane: str, mad: str, audit: str) -> None:
    """The checker sees what it is for: one workflow for each weakness, and none in ours."""
    assert _zizmor(WORKFLOWS).returncode == 0
    folder = tmp_path / ".github" / "workflows"
    shutil.copytree(WORKFLOWS, folder)
    text = (folder / file).read_text()
    assert sane in text
    (folder / file).write_text(text.replace(sane, mad))
    done = _zizmor(folder)
    assert done.returncode != 0
    assert audit in done.stdout


def test_workflows_run_our_scripts() -> None:
    """CI runs what people run: every command that looks like ours is in the repository."""
    text = "".join(path.read_text() for path in WORKFLOWS.glob("*.yml"))
    named = set(re.findall(r"(?<![\w/])(?:\$PWD/)?((?:\.ci|tools|deploy)/[\w./-]+)", text))
    assert {".ci/run", "deploy/kind/up", "tools/prerequisites"} <= named
    assert all((ROOT / name).exists() for name in named), named


@pytest.mark.parametrize("running", [False, True])
def test_kind_is_started_once(tmp_path: Path, running: bool) -> None:
    """`up` starts the cluster only where it does not run, and prints what a shell evaluates, nothing else."""
    for tool, does in (
        ("kind", f'echo "$@" >> {tmp_path}/said; [ "$1 $2" != "get clusters" ] || echo {"qmesh" if running else "other"}'),
        ("kubectl", "exit 0"),
    ):  # fmt: skip
        program = tmp_path / tool
        program.write_text(f"#!/bin/bash\n{does}\n")
        program.chmod(0o755)
    kubeconfig = tmp_path / "my kubeconfig"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KIND_KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        ["bash", "-c", f'eval "$({KIND}/up)"; echo "$KUBECONFIG"'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"{kubeconfig}\n"
    said = (tmp_path / "said").read_text()
    assert ("create cluster" in said) is not running
    assert (f"--config {KIND}/cluster.yaml" in said) is not running


def test_no_kind_is_one_sentence(tmp_path: Path) -> None:
    """Without kind the script says so and exits 78."""
    for tool in ("bash", "dirname", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        [str(KIND / "up")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith("kind is missing")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "QMESH_CLUSTER_UP names no command"),
        ({"QMESH_CLUSTER_UP": "/nowhere/up"}, "names /nowhere/up, which cannot be run"),
        ({"QMESH_CLUSTER_UP": "true", "CI_MINUTES": "17"}, "17 of 17 minutes are left, and it needs 18"),
    ],
)
def test_ci_says_why_it_leaves_the_cluster_out(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    """`.ci/run` names the reason before it ends with its time and the closing line of the tests."""
    said = _ci(tmp_path, environment)
    if os.geteuid() != 0 and "CI_MINUTES" in environment:
        reason = "needs root"
    assert said[-3].startswith("cluster-test NOT RUN: ")
    assert reason in said[-3]
    assert said[-2].startswith("CI: done")
    assert said[-1] == "made test"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a cluster")
def test_ci_runs_the_cluster_last(tmp_path: Path) -> None:
    """With root, a command and time, `make cluster-test` is the last of CI."""
    said = _ci(tmp_path, {"QMESH_CLUSTER_UP": "true"})
    assert [line for line in said[:-1] if line.startswith("made")] == [
        "made check",
        "made test",
        "made cluster-test",
    ]


def _ci(tmp_path: Path, environment: dict[str, str]) -> list[str]:
    """Lines of `.ci/run` in a copy of the scripts, with a `make` that only says what it is asked for."""
    for name in (".ci/run", "tools/prerequisites", "tools/helm"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy)
    for tool, does in (("make", 'echo "made $1"'), ("npm", "exit 0"), ("gcc", "exit 0"), ("helm", "exit 0")):
        program = tmp_path / tool
        program.write_text(f"#!/bin/bash\n{does}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / ".ci/run")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("file", STORES, ids=lambda file: file.stem)
def test_stores_are_known_to_kubernetes_and_restricted(file: Path, version: str) -> None:
    """Every object of deploy/dependencies passes Kubernetes' schema, and its pods pass Pod Security restricted."""
    text = re.sub("@[A-Z_]+@", "filled-in", file.read_text())
    objects = list(yaml.safe_load_all(text))
    assert objects
    for found in objects:
        kubernetes_validate.validate(found, version, strict=True)
        pod = pod_of(found)
        if pod is None:
            continue
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_store_is_installed_by_name(tmp_path: Path) -> None:
    """`install` knows each file, and the README names each."""
    script, readme = (ROOT / "deploy/dependencies" / name for name in ("install", "README.md"))
    assert {file.stem for file in STORES} == {"postgres", "nats", "mongodb", "prometheus"}
    for file in STORES:
        assert re.search(rf"\b{file.stem}\b.*\)", script.read_text())
        assert f"`{file.name}`" in readme.read_text()
