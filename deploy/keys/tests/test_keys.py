"""What a release lacks is made, what is there stays, and what is brought is checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from qmesh_fabric.identity import Identity
from qmesh_keys import certificates
from qmesh_keys.application import SERVICES, Keys, KeysError
from qmesh_keys.settings import KeysSection


class FakeCluster:
    """Secrets and ConfigMaps in memory."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.configs: dict[str, dict[str, str]] = {}

    def secret(self, name: str) -> dict[str, bytes] | None:
        """A copy of the entries."""
        held = self.secrets.get(name)
        return None if held is None else dict(held)

    def write_secret(self, name: str, entries: Mapping[str, bytes]) -> None:
        """Adds entries."""
        self.secrets.setdefault(name, {}).update(entries)

    def write_config(self, name: str, entries: Mapping[str, str]) -> None:
        """Adds entries."""
        self.configs.setdefault(name, {}).update(entries)


def _section(**changes: Any) -> KeysSection:
    values: dict[str, Any] = {
        "namespace": "lab", "prefix": "mesh", "domain": "lab.svc.cluster.local", "runtimes": 2, "validity": "30d",
    }  # fmt: skip
    return KeysSection(**(values | changes))


def test_everything_is_made_once() -> None:
    """A new release gets every Secret, and peer ids and public keys that fit them; a second run changes nothing."""
    cluster = FakeCluster()
    Keys(cluster, _section()).ensure()
    assert cluster.secrets.keys() == {
        *(f"mesh-{kind}" for kind in ("api-key", "pool-token", "signing-key", "authority")),
        *("mesh-registry-identity", "mesh-runtime-identity"),
        *(f"mesh-{service}-tls" for service in SERVICES),
    }
    peers = cluster.configs["mesh-peers"]
    registry = Identity(
        bytes.fromhex(cluster.secrets["mesh-registry-identity"]["mesh-registry-0.key"].decode())
    )
    host = "mesh-registry-0.mesh-registry.lab.svc.cluster.local"
    assert peers["registries"] == f"/dns4/{host}/tcp/4001/p2p/{registry.peer_id}"
    assert len(set(peers["runtime.peers"].split())) == 2
    before = {name: dict(entries) for name, entries in cluster.secrets.items()}, dict(peers)
    Keys(cluster, _section()).ensure()
    assert (cluster.secrets, cluster.configs["mesh-peers"]) == before


def test_more_runtimes_get_keys_and_fewer_lose_none() -> None:
    """Scaling adds an identity for each new ordinal; those of pods that are gone wait for them."""
    cluster = FakeCluster()
    Keys(cluster, _section(runtimes=1)).ensure()
    first = cluster.secrets["mesh-runtime-identity"]["mesh-runtime-0.key"]
    Keys(cluster, _section(runtimes=3)).ensure()
    Keys(cluster, _section(runtimes=2)).ensure()
    held = cluster.secrets["mesh-runtime-identity"]
    assert held["mesh-runtime-0.key"] == first
    assert len(set(held.values())) == 3
    assert len(cluster.configs["mesh-peers"]["runtime.peers"].split()) == 2


def test_a_secret_that_is_brought_is_used_and_never_written() -> None:
    """What the operator brings is read; what it lacks is named."""
    cluster = FakeCluster()
    cluster.secrets["mine"] = {"token": b"a token of the operator"}
    Keys(cluster, _section(existing={"pool-token": "mine"})).ensure()
    assert "mesh-pool-token" not in cluster.secrets
    assert cluster.secrets["mine"] == {"token": b"a token of the operator"}
    with pytest.raises(KeysError, match=r"the Secret keys lacks mesh-runtime-0\.key, mesh-runtime-1\.key"):
        Keys(cluster, _section(existing={"runtime-identity": "keys"})).ensure()
    assert "keys" not in cluster.secrets


@pytest.mark.parametrize(
    ("kind", "entry", "garbage"),
    [("signing-key", "key.pem", b"not a key"), ("registry-identity", "mesh-registry-0.key", b"zz")],
)
def test_a_damaged_secret_is_named(kind: str, entry: str, garbage: bytes) -> None:
    """A Secret that holds something else ends the job with its name, and is left as it is."""
    cluster = FakeCluster()
    cluster.secrets[f"mesh-{kind}"] = {entry: garbage}
    with pytest.raises(KeysError, match=kind):
        Keys(cluster, _section()).ensure()
    assert cluster.secrets[f"mesh-{kind}"] == {entry: garbage}


def test_certificates_name_their_service_and_both_uses() -> None:
    """Each certificate is of the release's authority, for its Service's names, for servers and clients."""
    cluster = FakeCluster()
    Keys(cluster, _section()).ensure()
    authority = x509.load_pem_x509_certificate(cluster.secrets["mesh-authority"]["ca.crt"])
    for service in SERVICES:
        entries = cluster.secrets[f"mesh-{service}-tls"]
        found = x509.load_pem_x509_certificate(entries["tls.crt"])
        found.verify_directly_issued_by(authority)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert f"mesh-{service}.lab.svc.cluster.local" in names.get_values_for_type(x509.DNSName)
        assert entries["ca.crt"] == cluster.secrets["mesh-authority"]["ca.crt"]
        assert b"ca.key" not in b"".join(name.encode() for name in entries)
        days = (found.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)
        assert 29 < days <= 30


def test_no_certificates_where_tls_is_off() -> None:
    """Without TLS there is no authority."""
    cluster = FakeCluster()
    Keys(cluster, _section(certificates=False)).ensure()
    assert not any("tls" in name or "authority" in name for name in cluster.secrets)


@pytest.mark.parametrize(("age", "due"), [(timedelta(days=19), False), (timedelta(days=21), True)])
def test_a_certificate_is_renewed_after_two_thirds(age: timedelta, due: bool) -> None:
    """Of thirty days, the twentieth is the last."""
    issuer = certificates.authority("a")
    now = datetime.now(UTC)
    made = certificates.issue(issuer, "b", ["b.example"], "spiffe://b", timedelta(days=30), now)
    assert certificates.is_due(issuer, made.certificate, ["b.example"], now + age) is due


def test_a_certificate_for_other_names_or_of_another_authority_is_due() -> None:
    """What no longer fits is issued anew, and so is what is none."""
    issuer = certificates.authority("a")
    made = certificates.issue(issuer, "b", ["b.example"], "spiffe://b", timedelta(days=30))
    assert not certificates.is_due(issuer, made.certificate, ["b.example"])
    assert certificates.is_due(issuer, made.certificate, ["c.example"])
    assert certificates.is_due(certificates.authority("a"), made.certificate, ["b.example"])
    assert certificates.is_due(issuer, b"garbage", ["b.example"])
