"""A release of the chart, installed and used as a newcomer does it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from qmesh_client.exits import Exit
from qmesh_kit.ports import free_port
from tests.cluster.conftest import NAMESPACE, RELEASE, Note
from tests.cluster.forward import Client
from tests.cluster.kube import CHART, ROOT, CommandError, Namespace, eventually, is_ready
from tests.cluster.objects import COMPONENTS, INSTANCE, component
from tests.mesh import EXAMPLES, QMESH, local_mesh

pytestmark = pytest.mark.timeout(600)

SEED = 11
START_SECONDS = 4
BUSY_SECONDS = 30


def test_install_makes_every_pod_ready(release: Namespace) -> None:
    """`helm install --wait` into a restricted namespace ends within 120 s, and no container was started twice."""
    pods = release.pods(INSTANCE)
    running = [pod for pod in pods if pod["metadata"]["labels"]["app.kubernetes.io/component"] in COMPONENTS]
    assert len(running) == 14
    assert all(is_ready(pod) for pod in running)
    restarts = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["restartCount"] for p in running}
    assert not any(restarts.values()), restarts


def test_helm_test_passes(release: Namespace) -> None:
    """`helm test` submits a circuit from within and checks its counts."""
    said = release.helm("test", RELEASE, "--logs")
    assert "Succeeded" in said
    assert "'00'" in said


def test_every_example_counts_as_in_local_mode(client: Client, tmp_path: Path, note: Note) -> None:
    """Each example gives over the port-forward what it gives on a local mesh of other nodes, for one seed."""
    circuits = {path.name: path.read_text() for path in sorted(EXAMPLES.glob("*.qasm"))}
    begun = time.monotonic()
    here = {name: client.counts(text, str(uuid.uuid4()), seed=SEED) for name, text in circuits.items()}
    note(f"{len(circuits)} examples on the cluster", time.monotonic() - begun)
    with local_mesh(tmp_path / "home", free_port()) as mesh, mesh.client() as local:
        there = {}
        for name, text in circuits.items():
            job_id = local.submit(text, seed=SEED)["job_id"]
            for _ in local.events(job_id):
                pass
            there[name] = local.job(job_id)["result"]["quantum_result"]["counts"]
    assert here == there


def test_bad_values_name_the_key(release: Namespace, values: list[str]) -> None:
    """`helm install` refuses bad values with the key, and makes nothing."""
    for bad, key in (
        ("gateway.replicas=0", "gateway/replicas"),
        ("gatway.replicas=2", "gatway"),
        ("registry.replicas=2", "registry.replicas"),
        ("profile=production", "image.digests.gateway"),
        ("postgres.secret.name=", "postgres.secret.name"),
    ):
        with pytest.raises(CommandError) as refused:
            release.helm("install", "other-qmesh", str(CHART), *values, "--set", bad)
        assert key in str(refused.value)
    assert "other-qmesh" not in release.helm("list", "--all", "--short")


def _commands(heading: str) -> list[str]:
    """Lines of the code blocks of a section of README.md, without comments, for the release of these tests."""
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```\n(.*?)```", section, re.DOTALL)).splitlines()
    found = [re.sub(r"\s+#.*", "", line) for line in lines if line]
    found = [re.sub(r"-n qmesh\b", f"-n {NAMESPACE}", line) for line in found]
    return [line.replace("--kube qmesh/", f"--kube {NAMESPACE}/") for line in found]


def test_readme_leads_a_newcomer_through(release: Namespace, tmp_path: Path) -> None:
    """What README says to type after the install works as it stands there: port-forward, key, submit, --kube."""
    commands = _commands("On Kubernetes")
    (forward,) = (c for c in commands if "port-forward" in c)
    said = release.helm("get", "notes", RELEASE)
    assert forward in said, "README and the chart's notes show the same command"
    after = commands[commands.index(forward) + 1 :]
    assert [c.split("=")[0] for c in after[:2]] == ["export QMESH_URL", "export QMESH_API_KEY"]
    port = free_port()
    script = [
        "set -euo pipefail",
        f"{forward.replace('8080:8080', f'{port}:8080')} > {tmp_path}/forward.log 2>&1 &",
        "forward=$!",
        "trap 'kill $forward' EXIT",
        f"until curl -sf -o /dev/null localhost:{port}/api/v1/health; do sleep 0.2; done",
        *(c.replace(":8080", f":{port}") for c in after),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QMESH_")}
    done = subprocess.run(
        ["timeout", "90", "bash", "-c", "\n".join(script)],
        env=kept | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "NO_COLOR": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("COMPLETED") == 2
    assert f"{RELEASE}-lab-0" in done.stdout


def test_the_command_line_names_what_is_wrong(release: Namespace) -> None:
    """`qmesh --kube` says in a sentence that there is no such context, namespace or release, with an exit code of its own."""
    for target, code, words in (
        ("nowhere/a/b", Exit.CONFIG, "has no context 'nowhere'"),
        ("no-such-namespace/qmesh", Exit.UNREACHABLE, "has no namespace 'no-such-namespace'"),
        (f"{NAMESPACE}/other", Exit.UNREACHABLE, "has no release 'other' with a gateway"),
    ):
        done = subprocess.run(
            [str(QMESH), "--kube", target, "jobs"], capture_output=True, text=True, timeout=60, check=False
        )
        assert words in " ".join(done.stderr.split()), done.stderr
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_end_to_end_tests_pass_against_the_release(release: Namespace) -> None:
    """`tests/e2e` with QMESH_E2E_KUBE: the seed's result, and counts of every example against Qiskit's exact distribution."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/e2e/test_seed.py"]
    command += ["tests/e2e/test_counts.py", "-k", "seed_result or submit or exact_distribution"]
    done = subprocess.run(
        command,
        env=os.environ | {"QMESH_E2E_KUBE": f"{NAMESPACE}/{RELEASE}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    examples = len(list((ROOT / "examples").glob("*.qasm")))
    assert passed is not None, done.stdout[-500:]
    assert int(passed[1]) > 2 * examples, "each example with two seeds, and the seed's result"


def test_peers_and_topologies_are_documents(release: Namespace) -> None:
    """The registry's documents are in the document server: a peer for each node, and the topologies that planners saw."""
    found = eventually(30, "every node has a document", lambda: documents(release, len_of=4))
    assert found["topology_projections"] > 0


def documents(namespace: Namespace, len_of: int) -> dict[str, int] | None:
    """Numbers of documents by collection, once there are so many ready peers; asked from the registry's pod."""
    program = """
import json, pathlib, pymongo
client = pymongo.MongoClient(pathlib.Path("/etc/qmesh/mongodb/url").read_text().strip(), serverSelectionTimeoutMS=3000)
database = client["qmesh"]
print(json.dumps({
    "ready": database.peer_capabilities.count_documents({"enrollment_status": "ready"}),
    "topology_projections": database.topology_projections.count_documents({}),
}))
"""
    found: dict[str, int] = json.loads(namespace.python(f"{RELEASE}-registry-0", program))
    return found if found["ready"] == len_of else None


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_container_is_ready_soon(release: Namespace, name: str, note: Note) -> None:
    """From the start of a container until its pod takes work, judged where the machine has a processor to spare.

    Kubernetes tells whole seconds, so that one second is of no account.
    """
    victim = release.pods(component(name))[0]["metadata"]
    release.kubectl("delete", "pod", victim["name"], "--timeout=60s", timeout=90)

    def fresh() -> dict[str, Any] | None:
        pods = release.pods(component(name))
        new = [p for p in pods if p["metadata"]["uid"] != victim["uid"]]
        return max(new, key=created, default=None) if all(map(is_ready, pods)) else None

    pod = eventually(60, f"a new pod of {name} is Ready", fresh)
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    (ready,) = (c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    seconds = (moment(ready["lastTransitionTime"]) - moment(started)).total_seconds()
    load = os.getloadavg()[0]
    note(f"{name}: container started to Ready (load {load:.1f})", seconds)
    assert seconds <= (START_SECONDS + 1 if load <= (os.cpu_count() or 1) else BUSY_SECONDS)


def created(pod: dict[str, Any]) -> datetime:
    """When a pod was made."""
    return moment(pod["metadata"]["creationTimestamp"])


def moment(text: str) -> datetime:
    """A time of Kubernetes."""
    return datetime.fromisoformat(text)
