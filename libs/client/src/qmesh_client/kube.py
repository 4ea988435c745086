"""A mesh in a Kubernetes cluster: finds a release's gateway and key, and forwards a local port to one of its pods.

`kubernetes` is imported on use only. What is asked of the API server is read-only, apart from the port-forward.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from qmesh_client.exits import Exit
from qmesh_client.mesh import Mesh

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, ApiException, CoreV1Api

    from qmesh_client.tunnel import Tunnel

_SECONDS = 10
_KEY_VARIABLE = "QMESH_GATEWAY__API_KEY"
_GATEWAY = "app.kubernetes.io/component=gateway"
_INSTANCE = "app.kubernetes.io/instance"


class KubeError(Exception):
    """The mesh of a cluster cannot be reached or used.

    Attributes:
        exit: exit code of a command that ends by it.
    """

    def __init__(self, message: str, exit_code: Exit) -> None:
        """Takes what happened and what to do."""
        super().__init__(message)
        self.exit = exit_code


@dataclass(frozen=True, slots=True)
class Release:
    """Where a release is; what is None is found: the current context, its namespace, the only release there."""

    context: str | None = None
    namespace: str | None = None
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Release:
        """A release from `context/namespace/release`, `namespace/release`, `release` or nothing.

        A context may have slashes of its own; an empty part is found.

        Raises:
            ValueError: it has blanks or other characters that no name has.
        """
        if any(c.isspace() or not c.isprintable() for c in text):
            raise ValueError(f"{text!r} should be like context/namespace/release, without blanks")
        parts = [part or None for part in text.rsplit("/", 2)]
        missing: list[str | None] = [None] * (3 - len(parts))
        return cls(*missing, *parts)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway of a release.

    Attributes:
        selector: labels of its pods.
        port: target port of its Service, a number or a name.
    """

    namespace: str
    release: str
    selector: str
    port: str

    def __str__(self) -> str:
        """For people."""
        return f"release {self.release} in namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a gateway: where it listens, and Secret and entry of its API key."""

    namespace: str
    name: str
    port: int
    secret: tuple[str, str] | None


class Cluster:
    """One API server, as the kubeconfig's context has it."""

    def __init__(self, context: str | None) -> None:
        """Reads the kubeconfig.

        Raises:
            KubeError: there is none, it is damaged, it lacks the context, or the client is not installed.
        """
        try:
            import yaml
            from kubernetes import client, config
        except ImportError:
            raise KubeError(
                "--kube needs the Kubernetes client: install qmesh-client[kube]", Exit.CONFIG
            ) from None
        known: list[Any]
        try:
            known, active = config.list_kube_config_contexts()
            names = [str(one["name"]) for one in known]
            if context is not None and context not in names:
                raise KubeError(
                    f"the kubeconfig has no context {context!r}; it has {', '.join(sorted(names)) or 'none'}",
                    Exit.CONFIG,
                )
            chosen = active if context is None else known[names.index(context)]
            self.context = str(chosen["name"])
            self.namespace = str(chosen["context"].get("namespace") or "default")
            self.client: ApiClient = config.new_client_from_config(context=self.context)
        except (config.ConfigException, yaml.YAMLError, OSError, KeyError, TypeError) as error:
            where = os.environ.get("KUBECONFIG") or "~/.kube/config"
            said = " ".join(str(error).split())
            raise KubeError(
                f"no cluster can be read from {where}: {said}\nSet KUBECONFIG, or make a context current with "
                "'kubectl config use-context NAME'.",
                Exit.CONFIG,
            ) from None
        self.client.configuration.retries = False
        self.api: CoreV1Api = client.CoreV1Api(self.client)

    def gateway(self, release: Release) -> Gateway:
        """The gateway of a release.

        Raises:
            KubeError: there is none, or several that might be meant.
        """
        namespace = release.namespace or self.namespace
        selector = _GATEWAY if release.name is None else f"{_GATEWAY},{_INSTANCE}={release.name}"
        with _asking(f"list the Services of namespace {namespace}", self):
            found = self.api.list_namespaced_service(
                namespace, label_selector=selector, _request_timeout=_SECONDS
            ).items
        services = [one for one in found if one.spec is not None and one.spec.selector and one.spec.ports]
        names = sorted({(one.metadata.labels or {}).get(_INSTANCE, "?") for one in services})
        if not services:
            raise self._absent(namespace, release.name)
        if len(names) > 1:
            raise KubeError(
                f"namespace {namespace} has several releases: {', '.join(names)}; say which, for example "
                f"--kube {namespace}/{names[0]}",
                Exit.USAGE,
            )
        service = services[0]
        ports = service.spec.ports
        port = next((one for one in ports if one.name == "http"), ports[0])
        return Gateway(
            namespace=namespace,
            release=names[0],
            selector=",".join(f"{k}={v}" for k, v in sorted(service.spec.selector.items())),
            port=str(port.target_port or port.port),
        )

    def _absent(self, namespace: str, name: str | None) -> KubeError:
        """Why there is no gateway: there may be no such namespace, or no such release in it."""
        from kubernetes.client import ApiException

        try:
            self.api.read_namespace(namespace, _request_timeout=_SECONDS)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return KubeError(
                    f"context {self.context} has no namespace {namespace!r}; see 'kubectl get namespaces'",
                    Exit.UNREACHABLE,
                )
        what = "no release with a gateway" if name is None else f"no release {name!r} with a gateway"
        return KubeError(
            f"namespace {namespace} of context {self.context} has {what}; see 'helm list -n {namespace}', and "
            "name another as --kube CONTEXT/NAMESPACE/RELEASE",
            Exit.UNREACHABLE,
        )

    def pod(self, gateway: Gateway) -> Pod:
        """A pod of the gateway that is ready.

        Raises:
            KubeError: none is ready.
        """
        with _asking(f"list the pods of namespace {gateway.namespace}", self):
            pods = self.api.list_namespaced_pod(
                gateway.namespace, label_selector=gateway.selector, _request_timeout=_SECONDS
            ).items
        ready = [pod for pod in pods if _is_ready(pod)]
        if not ready:
            states = "; ".join(f"{pod.metadata.name} {_state(pod)}" for pod in pods) or "there are no pods"
            raise KubeError(
                f"no gateway of {gateway} is ready: {states}\n"
                f"See 'kubectl -n {gateway.namespace} describe pods -l {gateway.selector}'.",
                Exit.UNREACHABLE,
            )
        pod = min(ready, key=lambda one: str(one.metadata.name))
        return Pod(gateway.namespace, str(pod.metadata.name), _port(pod, gateway), _secret(pod))

    def key(self, pod: Pod) -> str | None:
        """The API key that a gateway's pod asks for; None when it asks for none.

        Raises:
            KubeError: the Secret may not be read, is missing, or holds no key.
        """
        if pod.secret is None:
            return None
        name, entry = pod.secret
        advice = "; set QMESH_API_KEY to a key that you were given"
        with _asking(f"read the Secret {name} of namespace {pod.namespace}", self, advice):
            secret = self.api.read_namespaced_secret(name, pod.namespace, _request_timeout=_SECONDS)
        try:
            return base64.b64decode((secret.data or {})[entry], validate=True).decode("ascii").strip()
        except (KeyError, binascii.Error, UnicodeDecodeError):
            raise KubeError(
                f"the Secret {name} of namespace {pod.namespace} has no usable entry {entry!r}{advice}",
                Exit.CONFIG,
            ) from None


@contextmanager
def open_tunnel(release: Release) -> Iterator[Tunnel]:
    """A local port that leads to a ready pod of the release's gateway, for as long as it is open.

    Raises:
        KubeError: why there can be none.
    """
    cluster = Cluster(release.context)
    gateway = cluster.gateway(release)
    cluster.pod(gateway)
    from qmesh_client.tunnel import Tunnel

    with Tunnel(cluster, gateway) as tunnel:
        yield tunnel


@contextmanager
def open_mesh(release: Release, timeout: float = 30.0) -> Iterator[Mesh]:
    """A client of a release; its key is `QMESH_API_KEY` or the one of the release's Secret.

    Raises:
        KubeError: why there can be none.
    """
    with open_tunnel(release) as tunnel, tunnel.mesh(timeout) as mesh:
        yield mesh


@contextmanager
def _asking(what: str, cluster: Cluster, advice: str = "") -> Iterator[None]:
    """Turns what the API server or the way to it says into a sentence."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _refused(what, cluster, error, advice) from None
    except (HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise KubeError(
            f"the API server of context {cluster.context} at {cluster.client.configuration.host} cannot be reached: "
            f"{' '.join(str(reason).split())}\nIs the cluster up, and is the context the right one?",
            Exit.UNREACHABLE,
        ) from None


def _refused(what: str, cluster: Cluster, error: ApiException, advice: str) -> KubeError:
    match error.status:
        case HTTPStatus.UNAUTHORIZED:
            return KubeError(
                f"the API server of context {cluster.context} does not accept its credentials; log in to the "
                "cluster again",
                Exit.REFUSED,
            )
        case HTTPStatus.FORBIDDEN:
            return KubeError(
                f"the user of context {cluster.context} may not {what}{advice or '; ask for a Role that allows it'}",
                Exit.REFUSED,
            )
        case HTTPStatus.NOT_FOUND:
            return KubeError(f"cannot {what}: there is none{advice}", Exit.UNREACHABLE)
    return KubeError(
        f"cannot {what}: the API server of context {cluster.context} says {error.status} {error.reason}",
        Exit.UNREACHABLE,
    )


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or [] if pod.status is not None else []
    ready = any(one.type == "Ready" and one.status == "True" for one in conditions)
    return ready and pod.metadata.deletion_timestamp is None


def _state(pod: Any) -> str:
    """What keeps a pod from being ready, in a word or two."""
    if pod.metadata.deletion_timestamp is not None:
        return "is ending"
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting if status.state is not None else None
        if waiting is not None:
            return f"waits: {waiting.reason}"
    for condition in pod.status.conditions or []:
        if condition.status != "True" and condition.message:
            return f"is {pod.status.phase}: {condition.message}"
    return f"is {pod.status.phase}"


def _port(pod: Any, gateway: Gateway) -> int:
    if gateway.port.isdigit():
        return int(gateway.port)
    for container in pod.spec.containers:
        for port in container.ports or []:
            if port.name == gateway.port:
                return int(port.container_port)
    raise KubeError(f"pod {pod.metadata.name} has no port named {gateway.port!r}", Exit.UNREACHABLE)


def _secret(pod: Any) -> tuple[str, str] | None:
    """Name and entry of the Secret from which a gateway's pod has the API key; None when it asks for no key."""
    volumes = {volume.name: volume.secret for volume in pod.spec.volumes or [] if volume.secret is not None}
    for container in pod.spec.containers:
        for variable in container.env or []:
            source = variable.value_from.secret_key_ref if variable.value_from is not None else None
            if variable.name == _KEY_VARIABLE and source is not None:
                return str(source.name), str(source.key)
            if variable.name != f"{_KEY_VARIABLE}_FILE" or not variable.value:
                continue
            folder, _, entry = variable.value.rpartition("/")
            for mount in container.volume_mounts or []:
                if mount.mount_path.rstrip("/") == folder and mount.name in volumes:
                    return str(volumes[mount.name].secret_name), entry
    return None
