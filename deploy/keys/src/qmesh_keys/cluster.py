"""Secrets and ConfigMaps through the API server; every call has a deadline."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from kubernetes import client, config

from qmesh_keys.application import KeysError

_SECONDS = 10


class ApiCluster:
    """One namespace, with the rights of the pod's service account."""

    def __init__(self, namespace: str, labels: Mapping[str, str]) -> None:
        """Reads the pod's own credentials.

        Raises:
            KeysError: this is no pod, or it has no token.
        """
        try:
            config.load_incluster_config()
        except config.ConfigException as error:
            raise KeysError(f"this runs in a pod with a service account token only: {error}") from None
        self._api = client.CoreV1Api()
        self._namespace = namespace
        self._labels = dict(labels)

    def secret(self, name: str) -> dict[str, bytes] | None:
        """Entries of a Secret; None without one."""
        try:
            found = self._api.read_namespaced_secret(name, self._namespace, _request_timeout=_SECONDS)
        except client.ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise _refused("read", "Secret", name, error) from None
        return {entry: base64.b64decode(text) for entry, text in (found.data or {}).items()}

    def write_secret(self, name: str, entries: Mapping[str, bytes]) -> None:
        """Adds or replaces entries of a Secret; makes it if there is none."""
        data: dict[str, bytes | str] = {
            entry: base64.b64encode(value).decode() for entry, value in entries.items()
        }
        body = client.V1Secret(metadata=self._metadata(name), type="Opaque", data=data)
        self._write("secret", name, body)

    def write_config(self, name: str, entries: Mapping[str, str]) -> None:
        """Adds or replaces entries of a ConfigMap; makes it if there is none."""
        body = client.V1ConfigMap(metadata=self._metadata(name), data=dict(entries))
        self._write("config_map", name, body)

    def _write(self, kind: str, name: str, body: object) -> None:
        patch: Any = getattr(self._api, f"patch_namespaced_{kind}")
        create: Any = getattr(self._api, f"create_namespaced_{kind}")
        try:
            patch(name, self._namespace, body, _request_timeout=_SECONDS)
        except client.ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise _refused("write", kind, name, error) from None
        else:
            return
        try:
            create(self._namespace, body, _request_timeout=_SECONDS)
        except client.ApiException as error:
            raise _refused("make", kind, name, error) from None

    def _metadata(self, name: str) -> client.V1ObjectMeta:
        return client.V1ObjectMeta(name=name, namespace=self._namespace, labels=self._labels)


def _refused(action: str, kind: str, name: str, error: client.ApiException) -> KeysError:
    return KeysError(
        f"the API server does not let this job {action} the {kind} {name}: {error.status} {error.reason}"
    )
