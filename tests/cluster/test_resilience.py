"""A release that is hurt and changed while jobs run: every job completes."""

from __future__ import annotations

import time

import pytest

from tests.cluster.conftest import RELEASE, TAG, Note
from tests.cluster.forward import Client
from tests.cluster.kube import CHART, Namespace, eventually, is_ready
from tests.cluster.load import Load
from tests.cluster.objects import (
    COMPONENTS,
    INSTANCE,
    assert_complete,
    component,
    keys_of,
    nodes_of,
    peer_ids,
)

pytestmark = pytest.mark.timeout(600)


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
