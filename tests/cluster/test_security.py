"""What the API server and the network let the parts of a release do."""

from __future__ import annotations

import json

import pytest

from tests.cluster.conftest import NAMESPACE, RELEASE, TAG
from tests.cluster.kube import CHART, CommandError, Namespace, eventually, run
from tests.cluster.objects import COMPONENTS, INSTANCE, KEPT, component

pytestmark = pytest.mark.timeout(600)


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
from concurrent.futures import ThreadPoolExecutor
targets = {targets!r}
def open_to(name):
    try:
        socket.create_connection(targets[name], 2).close()
        return name
    except OSError:
        return ""
with ThreadPoolExecutor(len(targets)) as pool:
    print(*pool.map(open_to, targets))
"""
    return set(namespace.python(pod, program).split())


def test_the_job_of_keys_may_do_what_it_needs(release: Namespace, values: list[str]) -> None:
    """Its account, which lives while the Job does, makes Secrets and ConfigMaps and changes its own; it lists and deletes nothing."""
    rights = run(
        "helm",
        "-n",
        NAMESPACE,
        "template",
        RELEASE,
        str(CHART),
        *values,
        "-s",
        "templates/keys/rights.yaml",
        "--kube-version",
        "1.34",
    )
    release.kubectl("apply", "-f", "-", stdin=rights)
    try:
        user = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}-keys"

        def may(verb: str, what: str, *more: str) -> bool:
            try:
                return (
                    run("kubectl", "auth", "can-i", verb, what, "-n", NAMESPACE, user, *more).strip() == "yes"
                )
            except CommandError:
                return False

        assert eventually(10, "the role is there", lambda: may("create", "secrets"))
        assert may("create", "configmaps")
        for name in KEPT:
            assert may("get", f"secret/{name}"), name
            assert may("patch", f"secret/{name}"), name
        assert may("patch", f"configmap/{RELEASE}-peers")
        for verb in ("get", "list", "watch", "delete", "update"):
            assert not may(verb, "secrets"), verb
        assert not may("get", "secret/qmesh-postgres")
        assert not may("patch", "secret/qmesh-postgres")
        assert not may("create", "pods")
        assert not may("get", "pods")
        assert not may("create", "pods", "--subresource=exec")
        assert not may("create", "secrets", "--namespace=default")
    finally:
        release.kubectl("delete", "-f", "-", stdin=rights)
