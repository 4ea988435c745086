"""The end of a release: what stays, and what the next one makes of it. The last of this folder."""

from __future__ import annotations

import time
import uuid

import pytest

from tests.cluster.conftest import RELEASE, Note
from tests.cluster.forward import Client
from tests.cluster.kube import CHART, Namespace, eventually
from tests.cluster.load import CIRCUIT
from tests.cluster.objects import (
    INSTANCE,
    KEPT,
    keys_of,
    peer_ids,
)

pytestmark = pytest.mark.timeout(600)


def test_uninstall_leaves_keys_and_volumes(
    release: Namespace, client: Client, values: list[str], note: Note
) -> None:
    """What stays are the keys, the public half of them, and the volumes, as NOTES say; the next install uses them."""
    keys, peers = keys_of(release), peer_ids(client)
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
    begun = time.monotonic()
    release.helm("install", RELEASE, str(CHART), *values, "--wait", "--timeout", "120s")
    note("helm install --wait over what was left", time.monotonic() - begun)
    assert keys_of(release) == keys
    eventually(30, "the nodes have the peer ids that they had", lambda: peer_ids(client) == peers)
    assert client.counts(CIRCUIT, str(uuid.uuid4()), seed=5, shots=100)
