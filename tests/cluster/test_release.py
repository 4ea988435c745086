"""A release of the chart on a real cluster: installed, used, hurt, changed, removed. The tests run in this order."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import NAMESPACE, RELEASE, TAG
from tests.cluster.forward import Client
from tests.cluster.kube import CHART, CommandError, Namespace, eventually, is_ready, run
from tests.cluster.load import Load
from tests.mesh import EXAMPLES, free_port, local_mesh

Note = Callable[[str, float], None]

INSTANCE = f"app.kubernetes.io/instance={RELEASE}"
COMPONENTS = ("gateway", "planner", "registry", "reservation", "runtime", "analyzer", "node")
SEED = 11
KEPT = {
    f"{RELEASE}-{name}"
    for name in (
        "api-key", "pool-token", "signing-key", "registry-identity", "runtime-identity", "authority",
        *(f"{part}-tls" for part in COMPONENTS if part != "node"),
    )
}  # fmt: skip

pytestmark = pytest.mark.timeout(600)


def component(name: str) -> str:
    """Label selector of a component."""
    return f"{INSTANCE},app.kubernetes.io/component={name}"


def nodes_of(client: Client) -> set[str]:
    """Names of the nodes that a new plan may use."""
    offers = client.patiently(client.mesh.services)["services"]
    return {offer["node_name"] for offer in offers if offer["availability"] == "available"}


def keys_of(namespace: Namespace) -> dict[str, Any]:
    """Every key of the release, and what of them is public."""
    secrets = namespace.get("secrets", "-l", INSTANCE)["items"]
    found = {item["metadata"]["name"]: item["data"] for item in secrets if item["metadata"]["name"] in KEPT}
    found["peers"] = namespace.get("configmap", f"{RELEASE}-peers")["data"]
    return found


def peer_ids(client: Client) -> dict[str, str]:
    """Peer id of each node."""
    offers = client.patiently(client.mesh.services)["services"]
    return {offer["node_name"]: offer["node_id"] for offer in offers}


def assert_complete(load: Load) -> None:
    """Every job completed, with the counts of its seed."""
    jobs = load.settle()
    assert len(jobs) > 0
    failed = [(job["job_id"], job["status"], job["error"]) for job in jobs if job["status"] != "COMPLETED"]
    assert not failed, f"{len(failed)} of {len(jobs)} jobs: {failed[:3]}"
    counts = {json.dumps(job["result"]["quantum_result"]["counts"], sort_keys=True) for job in jobs}
    assert len(counts) == 1, "one seed gives the same counts whatever happens to the mesh"


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


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_pod_is_deleted_while_jobs_run(release: Namespace, client: Client, name: str, note: Note) -> None:
    """Whatever pod is deleted, every job completes, and the pod comes back."""
    with Load(client) as load:
        load.flow(2)
        victim = release.pods(component(name))[0]["metadata"]["name"]
        begun = time.monotonic()
        release.kubectl("delete", "pod", victim, "--wait=false")
        eventually(
            60,
            f"a new pod of {name} is Ready",
            lambda: (
                all(is_ready(pod) for pod in release.pods(component(name)))
                and victim
                not in {p["metadata"]["name"] for p in release.pods(component(name)) if not is_ready(p)}
                and release.get("pods", "-l", component(name))["items"] == release.pods(component(name))
            ),
        )
        note(f"{name}: deleted and all Ready again", time.monotonic() - begun)
        load.flow(2)
    begun = time.monotonic()
    assert_complete(load)
    note(f"{name}: the last of {len(load.jobs)} jobs", time.monotonic() - begun)


def test_a_killed_runtime_is_taken_over(release: Namespace, client: Client) -> None:
    """A runtime that gets no time to drain loses no job."""
    with Load(client) as load:
        load.flow(3)
        release.kubectl("delete", "pod", f"{RELEASE}-runtime-0", "--force", "--grace-period=0")
        load.flow(3)
    assert_complete(load)
    eventually(60, "the runtime is back", lambda: all(map(is_ready, release.pods(component("runtime")))))


def test_a_pool_is_scaled_while_jobs_run(release: Namespace, client: Client, note: Note) -> None:
    """4 -> 6 -> 3: new nodes are in plans within 10 s of Ready, those that go lose no job."""
    pool = f"{RELEASE}-lab"
    with Load(client) as load:
        release.kubectl("scale", f"statefulset/{pool}", "--replicas=6")
        eventually(
            60, "six nodes are Ready", lambda: sum(map(is_ready, release.pods(component("node")))) == 6
        )
        begun = time.monotonic()
        eventually(10, "six nodes can be planned", lambda: len(nodes_of(client)) == 6)
        note("two new nodes: Ready to planned", time.monotonic() - begun)
        load.flow(3)
        begun = time.monotonic()
        release.kubectl("scale", f"statefulset/{pool}", "--replicas=3")
        eventually(
            90,
            "three nodes are left",
            lambda: len(release.get("pods", "-l", component("node"))["items"]) == 3,
        )
        note("three nodes drained and gone", time.monotonic() - begun)
        eventually(15, "three nodes can be planned", lambda: len(nodes_of(client)) == 3)
        load.flow(3)
    assert_complete(load)
    release.kubectl("scale", f"statefulset/{pool}", "--replicas=4")
    eventually(60, "four nodes are planned again", lambda: len(nodes_of(client)) == 4)


def test_upgrade_and_rollback_keep_keys(
    release: Namespace, client: Client, values: list[str], note: Note
) -> None:
    """`helm upgrade` to other images and `helm rollback` lose no job; keys, certificates and peer ids stay."""
    keys, peers = keys_of(release), peer_ids(client)
    with Load(client, pause=0.5) as load:
        load.flow(2)
        begun = time.monotonic()
        release.helm(
            "upgrade",
            RELEASE,
            str(CHART),
            *values,
            "--set",
            f"image.tag={TAG}-next",
            "--wait",
            "--timeout",
            "300s",
        )
        note("helm upgrade --wait", time.monotonic() - begun)
        images = {c["image"] for pod in release.pods(component("gateway")) for c in pod["spec"]["containers"]}
        assert all(image.endswith(f":{TAG}-next") for image in images), images
        load.flow(2)
        assert keys_of(release) == keys
        begun = time.monotonic()
        release.helm("rollback", RELEASE, "1", "--wait", "--timeout", "300s")
        note("helm rollback --wait", time.monotonic() - begun)
        load.flow(2)
    assert_complete(load)
    assert keys_of(release) == keys
    eventually(20, "the nodes have the peer ids that they had", lambda: peer_ids(client) == peers)
    jobs = {item["metadata"]["name"]: item["status"] for item in release.get("jobs", "-l", INSTANCE)["items"]}
    assert all(status.get("succeeded") == 1 for status in jobs.values()), jobs


def test_service_accounts_have_no_rights(release: Namespace) -> None:
    """No service account of the release can do more than any user that is logged in; none has a token in its pod."""
    accounts = [a["metadata"]["name"] for a in release.get("serviceaccounts", "-l", INSTANCE)["items"]]
    assert sorted(accounts) == sorted(f"{RELEASE}-{name}" for name in (*COMPONENTS, "migrations"))
    everyone = run(
        "kubectl",
        "auth",
        "can-i",
        "--list",
        "-n",
        NAMESPACE,
        "--as=nobody",
        "--as-group=system:authenticated",
    )
    for account in accounts:
        user = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
        rights = run("kubectl", "auth", "can-i", "--list", "-n", NAMESPACE, user)
        extra = {" ".join(line.split()) for line in rights.splitlines()} - {
            " ".join(line.split()) for line in everyone.splitlines()
        }
        assert all("/openid" in line or "/.well-known" in line for line in extra), (account, extra)
    program = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io/serviceaccount/token'))"
    for name in COMPONENTS:
        pod = release.pods(component(name))[0]["metadata"]["name"]
        assert release.python(pod, program).strip() == "False", name
    assert not release.get("roles", "-l", INSTANCE)["items"]
    assert not release.get("rolebindings", "-l", INSTANCE)["items"]


def test_root_pods_are_refused(release: Namespace) -> None:
    """The API server refuses a pod of the mesh's image that wants to be root, and one that is privileged."""
    image = f"docker.io/qmesh/gateway:{TAG}"
    for security in ({"runAsUser": 0}, {"privileged": True}):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "intruder"},
            "spec": {"containers": [{"name": "x", "image": image, "securityContext": security}]},
        }
        with pytest.raises(CommandError, match="violates PodSecurity"):
            release.kubectl("create", "-f", "-", stdin=json.dumps(pod))


def test_edges_that_no_policy_allows_are_blocked(release: Namespace) -> None:
    """Parts reach what the table of edges says, and nothing else."""
    domain = f"{NAMESPACE}.svc.cluster.local"
    addresses = {
        "postgres": (f"postgres.{domain}", 5432),
        "nats": (f"nats.{domain}", 4222),
        "mongodb": (f"mongodb.{domain}", 27017),
    } | {
        name: (f"{RELEASE}-{name}.{domain}", 8080 if name == "gateway" else 50051)
        for name in COMPONENTS
        if name != "node"
    }
    addresses["node"] = (f"{RELEASE}-lab-0.{RELEASE}-nodes.{domain}", 4001)
    allowed = {
        "gateway": {"planner", "registry", "reservation", "runtime", "analyzer", "nats"},
        "planner": {"registry", "postgres"},
        "registry": {"postgres", "nats", "mongodb"},
        "reservation": {"postgres"},
        "runtime": {"planner", "registry", "reservation", "analyzer", "node", "postgres", "nats"},
        "node": {"node"},
        "analyzer": set[str](),
    }
    resolved = {name: (run_address(release, host), port) for name, (host, port) in addresses.items()}
    wrong = []
    for source, targets in allowed.items():
        pod = release.pods(component(source))[0]["metadata"]["name"]
        reached = reachable(release, pod, {n: a for n, a in resolved.items() if n != source or n == "node"})
        wrong += [f"{source} -> {name}" for name in sorted(reached ^ targets)]
    assert not wrong, f"edges that differ from the table: {wrong}"


def run_address(namespace: Namespace, host: str) -> str:
    """Address of a name, as the gateway's pod resolves it."""
    pod = namespace.pods(component("gateway"))[0]["metadata"]["name"]
    return namespace.python(pod, f"import socket; print(socket.gethostbyname({host!r}))").strip()


def reachable(namespace: Namespace, pod: str, targets: dict[str, tuple[str, int]]) -> set[str]:
    """Which targets a pod can open a connection to."""
    program = f"""
import socket
for name, address in {targets!r}.items():
    try:
        socket.create_connection(address, 1.5).close()
        print(name)
    except OSError:
        pass
"""
    return set(namespace.python(pod, program).split())


def test_a_store_that_is_away_shows_in_readiness(release: Namespace, client: Client, note: Note) -> None:
    """Without PostgreSQL pods are NotReady and say why, a new pod says it in its events, and none is started again."""
    release.kubectl("scale", "statefulset/postgres", "--replicas=0")
    planner = release.pods(component("planner"))[0]["metadata"]["name"]

    def objection() -> str | None:
        said = release.kubectl("exec", planner, "--", "sh", "-c", "ready || true")
        return said if "postgres" in said else None

    eventually(30, "a planner says that it misses PostgreSQL", objection)
    eventually(
        30, "planners are NotReady", lambda: not any(map(is_ready, release.pods(component("planner"))))
    )
    release.kubectl("delete", "pod", planner, "--wait=false")

    def event() -> bool:
        items = release.get("events", "--field-selector", "reason=Unhealthy")["items"]
        return any("postgres: " in e["message"] and "planner" in e["involvedObject"]["name"] for e in items)

    eventually(40, "an event says that the new pod misses PostgreSQL", event)
    release.kubectl("scale", "statefulset/postgres", "--replicas=1")
    begun = time.monotonic()
    eventually(
        60,
        "every pod is Ready again",
        lambda: all(is_ready(pod) for name in COMPONENTS for pod in release.pods(component(name))),
    )
    note("PostgreSQL back: every pod Ready", time.monotonic() - begun)
    restarts = [
        (pod["metadata"]["name"], status["restartCount"])
        for pod in release.pods(INSTANCE)
        for status in pod["status"]["containerStatuses"]
        if status["restartCount"]
    ]
    assert not restarts
    with Load(client) as load:
        load.flow(2)
    assert_complete(load)


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


def test_uninstall_leaves_keys_and_volumes(release: Namespace) -> None:
    """What stays are the keys, the public half of them, and the volumes, as NOTES say; the next install uses them."""
    secret = base64.b64decode(release.get("secret", f"{RELEASE}-api-key")["data"]["api-key"])
    release.helm("uninstall", RELEASE, "--wait", "--timeout", "120s")
    kinds = "secrets,configmaps,persistentvolumeclaims,services,deployments,statefulsets,jobs,serviceaccounts"
    kinds += ",networkpolicies,poddisruptionbudgets,roles,rolebindings"
    left = release.get(kinds, "-l", INSTANCE)["items"]
    names = {(item["kind"], item["metadata"]["name"]) for item in left}
    volumes = {name for kind, name in names if kind == "PersistentVolumeClaim"}
    assert names - {("PersistentVolumeClaim", name) for name in volumes} == {
        *(("Secret", name) for name in KEPT),
        ("ConfigMap", f"{RELEASE}-peers"),
    }
    assert volumes == {f"data-{RELEASE}-runtime-{n}" for n in range(2)} | {
        f"data-{RELEASE}-lab-{n}" for n in range(6)
    }
    assert secret
