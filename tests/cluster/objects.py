"""What tests ask of a release again and again."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.conftest import RELEASE
from tests.cluster.forward import Client
from tests.cluster.kube import Namespace
from tests.cluster.load import Load

INSTANCE = f"app.kubernetes.io/instance={RELEASE}"
COMPONENTS = ("gateway", "planner", "registry", "reservation", "runtime", "analyzer", "node")
KEPT = {
    f"{RELEASE}-{name}"
    for name in (
        "api-key", "pool-token", "signing-key", "registry-identity", "runtime-identity", "authority",
        *(f"{part}-tls" for part in COMPONENTS if part != "node"),
    )
}  # fmt: skip


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
