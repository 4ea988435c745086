"""Makes what a release lacks; what is there stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Protocol

import structlog

from qmesh_keys import certificates, material
from qmesh_keys.settings import KeysSection

log = structlog.get_logger()

SERVICES = ("gateway", "planner", "registry", "reservation", "runtime", "analyzer")
Makers = Mapping[str, Callable[[], bytes]]


class KeysError(Exception):
    """The keys of a release cannot be made or used; says which Secret and what to do."""


class Cluster(Protocol):
    """Secrets and ConfigMaps of the release's namespace."""

    def secret(self, name: str) -> dict[str, bytes] | None:
        """Entries of a Secret; None without one."""

    def write_secret(self, name: str, entries: Mapping[str, bytes]) -> None:
        """Adds or replaces entries of a Secret; makes it if there is none."""

    def write_config(self, name: str, entries: Mapping[str, str]) -> None:
        """Adds or replaces entries of a ConfigMap; makes it if there is none."""


class Keys:
    """All keys of one release."""

    def __init__(self, cluster: Cluster, section: KeysSection) -> None:
        """Takes the cluster and what is wanted."""
        self._cluster = cluster
        self._section = section

    def ensure(self) -> None:
        """Makes what is missing, and publishes peer ids and public keys.

        Raises:
            KeysError: a Secret that is brought lacks an entry, or holds something else.
        """
        section = self._section
        registries = self._identities("registry", section.registries)
        runtimes = self._identities("runtime", section.runtimes)
        self._secret("pool-token", {"token": material.token})
        self._secret("api-key", {"api-key": material.token})
        pem = self._secret("signing-key", {"key.pem": material.signing_key})["key.pem"]
        if section.certificates:
            self._certificates()
        public = self._public("signing-key", partial(material.public_line, pem))
        self._cluster.write_config(
            f"{section.prefix}-peers",
            {
                "registries": ",".join(self._address(name, peer) for name, peer in registries.items()),
                "runtime.peers": "".join(f"{peer}\n" for peer in runtimes.values()),
                "token.pub": f"{public}\n",
            },
        )

    def _identities(self, service: str, count: int) -> dict[str, str]:
        """Peer id of each pod of a service; keys of pods that are gone stay."""
        pods = [f"{self._section.prefix}-{service}-{number}" for number in range(count)]
        held = self._secret(f"{service}-identity", {f"{pod}.key": material.identity for pod in pods})
        found = {}
        for pod in pods:
            stored = held[f"{pod}.key"]
            found[pod] = self._public(f"{service}-identity", partial(material.peer_id, stored))
        return found

    def _address(self, pod: str, peer: str) -> str:
        section = self._section
        host = f"{pod}.{section.prefix}-registry.{section.domain}"
        return f"/dns4/{host}/tcp/{section.fabric_port}/p2p/{peer}"

    def _secret(self, kind: str, makers: Makers) -> dict[str, bytes]:
        """Entries of one Secret, made where they are missing unless the Secret is brought."""
        brought = self._section.existing.get(kind)
        name = brought or f"{self._section.prefix}-{kind}"
        held = self._cluster.secret(name) or {}
        missing = [entry for entry in makers if not held.get(entry)]
        if missing and brought:
            raise KeysError(
                f"the Secret {name} lacks {', '.join(missing)}: add it, or let the chart make its own"
            )
        if missing:
            made = {entry: makers[entry]() for entry in missing}
            self._cluster.write_secret(name, made)
            log.info("made", secret_name=name, entries=missing)
            held |= made
        return held

    def _public(self, kind: str, derive: Callable[[], str]) -> str:
        try:
            return derive()
        except (ValueError, TypeError) as error:
            raise KeysError(f"the Secret of {kind} holds something else: {error}") from None

    def _certificates(self) -> None:
        section = self._section
        stored = self._cluster.secret(f"{section.prefix}-authority") or {}
        if stored.get("ca.crt") and stored.get("ca.key"):
            issuer = certificates.Pair(stored["ca.crt"], stored["ca.key"])
        else:
            issuer = certificates.authority(f"{section.namespace}/{section.prefix}")
            self._cluster.write_secret(
                f"{section.prefix}-authority", {"ca.crt": issuer.certificate, "ca.key": issuer.key}
            )
        for service in SERVICES:
            self._certificate(issuer, service)

    def _certificate(self, issuer: certificates.Pair, service: str) -> None:
        section = self._section
        full, secret = f"{section.prefix}-{service}", f"{section.prefix}-{service}-tls"
        names = [
            f"{full}.{section.domain}",
            f"*.{full}.{section.domain}",
            f"{full}.{section.namespace}.svc",
            full,
        ]
        held = self._cluster.secret(secret) or {}
        if held.get("tls.key") and not certificates.is_due(issuer, held.get("tls.crt", b""), names):
            return
        uri = f"spiffe://qmesh/ns/{section.namespace}/sa/{full}"
        made = certificates.issue(issuer, full, names, uri, timedelta(seconds=section.validity))
        self._cluster.write_secret(
            secret, {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": issuer.certificate}
        )
        log.info("issued", certificate=secret)
