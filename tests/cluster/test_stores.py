"""Stores that are away: the parts that need them say so, and go on when they are back."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest

from tests.cluster.conftest import Note
from tests.cluster.forward import Client
from tests.cluster.kube import CHART, Namespace, eventually, is_ready
from tests.cluster.load import Load
from tests.cluster.objects import (
    COMPONENTS,
    INSTANCE,
    assert_complete,
    component,
)

pytestmark = pytest.mark.timeout(600)


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


def test_documents_wait_for_their_server(release: Namespace, client: Client) -> None:
    """Without MongoDB no pod is NotReady and jobs complete; the gateway names it, and is content when it is back."""
    release.kubectl("scale", "statefulset/mongodb", "--replicas=0")
    missing = eventually(40, "the gateway misses documents", lambda: readiness(release)["missing"])
    assert missing == ["documents"]
    assert all(is_ready(pod) for name in COMPONENTS for pod in release.pods(component(name)))
    with Load(client) as load:
        load.flow(2)
    assert_complete(load)
    release.kubectl("scale", "statefulset/mongodb", "--replicas=1")
    eventually(60, "the gateway misses nothing", lambda: readiness(release)["status"] == "ready")


def readiness(namespace: Namespace) -> dict[str, Any]:
    """What the gateway's /api/v1/ready says."""
    program = """
import urllib.request, urllib.error
try:
    answer = urllib.request.urlopen("http://127.0.0.1:8080/api/v1/ready", timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.read().decode())
"""
    pod = namespace.pods(component("gateway"))[0]["metadata"]["name"]
    found: dict[str, Any] = json.loads(namespace.python(pod, program))
    return found


def test_a_release_without_its_stores_says_what_it_lacks(release: Namespace, values: list[str]) -> None:
    """Installed where NATS is not: pods are NotReady, not ended again and again, and an event of each names NATS."""
    other = "lost-qmesh"
    settings = ["nats.url=nats://nowhere:4222", "nodes.pools[0].name=lab", "nodes.pools[0].replicas=1"]
    settings += ["nodes.pools[0].dataQubits=2", "nodes.defaults.resources.requests.cpu=1m"]
    settings += [f"{part}.replicas=1" for part in ("gateway", "planner", "reservation", "runtime")]
    settings += [f"{part}.resources.requests.cpu=1m" for part in COMPONENTS if part != "node"]
    wrong = ["--set", ",".join(settings)]
    release.helm("install", other, str(CHART), *values, *wrong)
    try:

        def named(part: str) -> bool:
            items = release.get("events", "--field-selector", "reason=Unhealthy")["items"]
            mine = [e["message"] for e in items if e["involvedObject"]["name"].startswith(f"{other}-{part}-")]
            return any("nats: nowhere:4222" in message for message in mine)

        for part in ("gateway", "registry", "runtime"):
            eventually(60, f"an event names what {part} misses", partial(named, part))
        pods = release.pods(f"app.kubernetes.io/instance={other}")
        lost = [
            p
            for p in pods
            if p["metadata"]["labels"]["app.kubernetes.io/component"] in {"gateway", "registry", "runtime"}
        ]
        assert len(lost) == 3
        assert not any(map(is_ready, lost))
        assert all(
            status["restartCount"] == 0 for pod in lost for status in pod["status"]["containerStatuses"]
        )
    finally:
        release.helm("uninstall", other, "--wait", "--timeout", "120s")
        release.kubectl("delete", "secret,configmap,pvc", "-l", f"app.kubernetes.io/instance={other}")
