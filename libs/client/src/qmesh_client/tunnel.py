"""A local port that leads through the API server to a pod: one port-forward for each connection.

Kubernetes' own client speaks the protocol; here it is kept from hanging: its thread ends with every error, connections have
deadlines, and a pod that is gone is replaced by another one at the next connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from types import TracebackType
from typing import Any, Self, override

import websocket
from kubernetes.client import ApiException
from kubernetes.stream.ws_client import PortForward, create_websocket, get_websocket_url

from qmesh_client.exits import Exit
from qmesh_client.kube import Cluster, Gateway, KubeError, Pod
from qmesh_client.mesh import Mesh

_CONNECT_SECONDS = 10.0
_CHUNK = 64 * 1024
_BACKLOG = 64


class _Forward(PortForward):  # type: ignore[misc] # untyped
    """A port-forward whose ends are closed whatever ends its thread."""

    @override
    def _proxy(self) -> None:
        try:
            super()._proxy()
        except (OSError, ValueError, RuntimeError, websocket.WebSocketException) as error:
            self.failure = error
        finally:
            for port in self.local_ports.values():
                port.python.close()
            with contextlib.suppress(OSError, websocket.WebSocketException):
                self.websocket.close(timeout=1)

    failure: Exception | None = None


class Tunnel:
    """Listens on a free port of this machine's loopback; a context manager.

    Attributes:
        url: where the gateway can be reached.
        trouble: why the last connection failed; None after one that worked.
    """

    def __init__(self, cluster: Cluster, gateway: Gateway) -> None:
        """Takes whose gateway it leads to."""
        self._cluster = cluster
        self._gateway = gateway
        self._lock = threading.Lock()
        self._pod: Pod | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._open: set[socket.socket] = set()
        self._closed = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.trouble: str | None = None

    def __enter__(self) -> Self:
        """Begins to accept connections."""
        websocket.setdefaulttimeout(_CONNECT_SECONDS)
        threading.Thread(target=self._accept, name="tunnel", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every connection."""
        self._closed = True
        self._listener.close()
        with self._lock:
            held = list(self._open)
        for one in held:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mesh(self, timeout: float = 30.0) -> Mesh:
        """A client through the tunnel, with `QMESH_API_KEY` or the key of the release.

        Raises:
            KubeError: there is no key that may be read.
        """
        key = os.environ.get("QMESH_API_KEY") or self._cluster.key(self._ready_pod())
        return _ClusterMesh(self, key, timeout)

    def describe(self) -> str:
        """Where the mesh is, and what is wrong with the way there."""
        place = f"{self._gateway} (context {self._cluster.context})"
        return place if self.trouble is None else f"{place}: {self.trouble}"

    def _ready_pod(self) -> Pod:
        with self._lock:
            if self._pod is None:
                self._pod = self._cluster.pod(self._gateway)
            return self._pod

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), name="tunnel", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                pod, forward = self._dial()
            except KubeError as error:
                self.trouble = str(error)
                return
            remote = forward.socket(pod.port)
            with self._lock:
                self._open |= {connection, remote}
            up = threading.Thread(target=_copy, args=(connection, remote), name="tunnel", daemon=True)
            up.start()
            answered = _copy(remote, connection)
            up.join()
            remote.close()
            with self._lock:
                self._open -= {connection, remote}
            self._judge(pod, forward, answered=answered)

    def _judge(self, pod: Pod, forward: _Forward, *, answered: bool) -> None:
        """What the end of a connection says of its pod: the next connection asks for another one."""
        said = forward.error(pod.port) or forward.failure
        if said is None and answered:
            self.trouble = None
            return
        if self._closed:
            return
        reason = " ".join(str(said or "it closed the connection without an answer").split())
        self.trouble = f"lost pod {pod.name}: {reason}"
        with self._lock:
            self._pod = None

    def _dial(self) -> tuple[Pod, _Forward]:
        """A port-forward to a pod that is ready; once more with another pod when the first one is gone."""
        try:
            return self._forward(self._ready_pod())
        except KubeError:
            with self._lock:
                self._pod = None
            return self._forward(self._ready_pod())

    def _forward(self, pod: Pod) -> tuple[Pod, _Forward]:
        configuration = self._cluster.client.configuration
        path = f"{configuration.host}/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/portforward"
        token = configuration.get_api_key_with_prefix("authorization", alias="BearerToken")
        headers = {"authorization": token} if token else {}
        try:
            channel = create_websocket(
                configuration, get_websocket_url(path, [("ports", str(pod.port))]), headers
            )
        except websocket.WebSocketBadStatusException as error:
            raise self._refused(pod, error.status_code) from None
        except (OSError, websocket.WebSocketException, ApiException) as error:
            raise KubeError(
                f"cannot forward a port to pod {pod.name}: {' '.join(str(error).split())[:300]}",
                Exit.UNREACHABLE,
            ) from None
        return pod, _Forward(channel, [pod.port])

    def _refused(self, pod: Pod, status: int) -> KubeError:
        if status == 403:  # noqa: PLR2004 - HTTP
            return KubeError(
                f"the user of context {self._cluster.context} may not forward ports to pod {pod.name}; ask for a "
                "Role with 'create' and 'get' on pods/portforward",
                Exit.REFUSED,
            )
        return KubeError(
            f"cannot forward a port to pod {pod.name}: the API server says HTTP {status}", Exit.UNREACHABLE
        )


class _ClusterMesh(Mesh):
    """A mesh behind a tunnel, named after its release in errors."""

    remedy = "The next command makes a new connection; see 'kubectl get pods' when it fails, too."

    def __init__(self, tunnel: Tunnel, key: str | None, timeout: float) -> None:
        super().__init__(tunnel.url, key, timeout)
        self._tunnel = tunnel

    @override
    def place(self) -> str:
        return self._tunnel.describe()


def _copy(source: Any, target: Any) -> bool:
    """Carries bytes until the source ends, and passes the end on; whether there were any."""
    some = False
    try:
        while data := source.recv(_CHUNK):
            some = True
            target.sendall(data)
    except OSError:
        pass  # either side is gone, which ends the connection
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    return some
