"""`qmesh --kube` against an API server that answers as one is told to: what is found, and what is said when it is not."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from qmesh_client.exits import Exit
from qmesh_client.kube import Cluster, KubeError, Release


@dataclass
class ApiServer:
    """Objects by path; a whole number is the status of a refusal."""

    answers: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def answer(self, path: str, selector: str) -> tuple[int, object]:
        """Status and body of a request."""
        found = self.answers.get(path, 404)
        if isinstance(found, int):
            return found, {"kind": "Status", "status": "Failure", "code": found}
        if "items" in found and selector:
            wanted = dict(pair.split("=") for pair in selector.split(","))
            items = [o for o in found["items"] if wanted.items() <= o["metadata"]["labels"].items()]
            return 200, found | {"items": items}
        return 200, found


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A server on a free port."""
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            selector = parse_qs(parts.query).get("labelSelector", [""])[0]
            status, body = api.answer(parts.path, selector)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the library's names
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cluster(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster of a kubeconfig with one context, `lab`, whose namespace is `mesh`."""
    file = tmp_path / "config"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "lab",
                "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "mesh"}}],
                "clusters": [{"name": "c", "cluster": {"server": api.url}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    import kubernetes.config.kube_config as module

    monkeypatch.setattr(module, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    return Cluster(None)


def _labels(release: str) -> dict[str, str]:
    return {"app.kubernetes.io/component": "gateway", "app.kubernetes.io/instance": release}


def _service(release: str) -> dict[str, Any]:
    spec = {"selector": _labels(release), "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return {"metadata": {"name": f"{release}-gateway", "labels": _labels(release)}, "spec": spec}


def _pod(name: str, release: str, *, ready: bool) -> dict[str, Any]:
    container = {
        "name": "gateway",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "QMESH_GATEWAY__API_KEY_FILE", "value": "/etc/qmesh/api-key/api-key"}],
        "volumeMounts": [{"name": "key", "mountPath": "/etc/qmesh/api-key"}],
    }
    condition = {
        "type": "Ready",
        "status": str(ready),
        "message": "" if ready else "containers with unready status",
    }
    return {
        "metadata": {"name": name, "labels": _labels(release)},
        "spec": {"containers": [container], "volumes": [{"name": "key", "secret": {"secretName": f"{release}-api-key"}}]},
        "status": {"phase": "Running", "conditions": [condition]},
    }  # fmt: skip


def _install(api: ApiServer, *releases: str, ready: bool = True) -> None:
    base = "/api/v1/namespaces/mesh"
    api.answers[base] = {"metadata": {"name": "mesh"}}
    api.answers[f"{base}/services"] = {"kind": "ServiceList", "items": [_service(r) for r in releases]}
    pods = [_pod(f"{r}-gateway-{n}", r, ready=ready and n > 0) for r in releases for n in range(2)]
    api.answers[f"{base}/pods"] = {"kind": "PodList", "items": pods}
    for release in releases:
        key = base64.b64encode(f"key of {release}\n".encode()).decode()
        api.answers[f"{base}/secrets/{release}-api-key"] = {"data": {"api-key": key}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Release(None, None, None)),
        ("qmesh", Release(None, None, "qmesh")),
        ("lab/qmesh", Release(None, "lab", "qmesh")),
        ("kind/lab/qmesh", Release("kind", "lab", "qmesh")),
        ("arn:aws/cluster/lab/qmesh", Release("arn:aws/cluster", "lab", "qmesh")),
        ("kind//", Release("kind", None, None)),
    ],
)
def test_a_release_is_read_from_the_right(text: str, expected: Release) -> None:
    """The last part is the release, the one before the namespace, the rest the context."""
    assert Release.parse(text) == expected


@pytest.mark.parametrize("text", ["a b", "a/\tb", "a\x00"])
def test_blanks_are_no_release(text: str) -> None:
    """A name with blanks or control characters is refused."""
    with pytest.raises(ValueError, match="without blanks"):
        Release.parse(text)


def test_the_only_release_is_found_with_a_ready_pod_and_its_key(api: ApiServer, cluster: Cluster) -> None:
    """Context, namespace, release, pod, port and key are found without being named."""
    _install(api, "one")
    gateway = cluster.gateway(Release())
    assert (gateway.namespace, gateway.release) == ("mesh", "one")
    pod = cluster.pod(gateway)
    assert (pod.name, pod.port) == ("one-gateway-1", 8080)
    assert cluster.key(pod) == "key of one"


def test_several_releases_have_to_be_told_apart(api: ApiServer, cluster: Cluster) -> None:
    """Two releases in a namespace are a question, and each can be named."""
    _install(api, "one", "two")
    with pytest.raises(KubeError, match=r"several releases: one, two") as refused:
        cluster.gateway(Release())
    assert refused.value.exit is Exit.USAGE
    assert cluster.key(cluster.pod(cluster.gateway(Release(name="two")))) == "key of two"


def test_what_is_missing_is_said(api: ApiServer, cluster: Cluster) -> None:
    """No namespace, no release, no ready pod: each has a sentence."""
    api.answers["/api/v1/namespaces/gone/services"] = {"kind": "ServiceList", "items": []}
    with pytest.raises(KubeError, match="no namespace 'gone'"):
        cluster.gateway(Release(namespace="gone"))
    _install(api)
    with pytest.raises(KubeError, match=r"has no release 'x' with a gateway"):
        cluster.gateway(Release(name="x"))
    _install(api, "one", ready=False)
    with pytest.raises(
        KubeError, match=r"no gateway of release one in namespace mesh is ready: .*unready status"
    ):
        cluster.pod(cluster.gateway(Release()))


@pytest.mark.parametrize(
    ("status", "words", "exit_code"),
    [
        (401, "does not accept its credentials", Exit.REFUSED),
        (403, "may not read the Secret one-api-key of namespace mesh; set QMESH_API_KEY", Exit.REFUSED),
        (404, "there is none; set QMESH_API_KEY", Exit.UNREACHABLE),
        (500, "says 500", Exit.UNREACHABLE),
    ],
)
def test_a_key_that_may_not_be_read_is_said(
    api: ApiServer, cluster: Cluster, status: int, words: str, exit_code: Exit
) -> None:
    """Every refusal of the API server is a sentence with an exit code, and names what to do."""
    _install(api, "one")
    pod = cluster.pod(cluster.gateway(Release()))
    api.answers["/api/v1/namespaces/mesh/secrets/one-api-key"] = status
    with pytest.raises(KubeError, match=words) as refused:
        cluster.key(pod)
    assert refused.value.exit is exit_code


@pytest.mark.parametrize("data", [{}, {"api-key": "%%%"}, {"api-key": base64.b64encode(b"\xff").decode()}])
def test_a_secret_without_a_key_is_said(api: ApiServer, cluster: Cluster, data: dict[str, str]) -> None:
    """A Secret that holds no usable key is named with its entry."""
    _install(api, "one")
    api.answers["/api/v1/namespaces/mesh/secrets/one-api-key"] = {"data": data}
    with pytest.raises(KubeError, match="no usable entry 'api-key'"):
        cluster.key(cluster.pod(cluster.gateway(Release())))


def test_a_context_that_is_not_there_is_said(cluster: Cluster) -> None:
    """The contexts that there are are named."""
    with pytest.raises(KubeError, match="no context 'prod'; it has lab") as refused:
        Cluster("prod")
    assert refused.value.exit is Exit.CONFIG


def test_an_api_server_that_is_away_is_said(api: ApiServer, cluster: Cluster, tmp_path: Path) -> None:
    """No answer is a sentence with the address."""
    file = tmp_path / "config"
    file.write_text(file.read_text().replace(api.url, "http://127.0.0.1:9"))
    with pytest.raises(KubeError, match=r"127\.0\.0\.1:9 cannot be reached") as refused:
        Cluster(None).gateway(Release())
    assert refused.value.exit is Exit.UNREACHABLE
