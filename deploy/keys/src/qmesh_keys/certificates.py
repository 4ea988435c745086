"""An authority for one release, and a certificate for each service: for TLS both ways between the services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_YEARS = 10
_SKEW = timedelta(minutes=5)
_RENEW_AT = 2 / 3


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


def authority(name: str, now: datetime | None = None) -> Pair:
    """A new authority, good for ten years."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} authority")
    built = (
        _builder(subject, subject, key, now, timedelta(days=365 * _AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(built, key)


def issue(
    issuer: Pair, name: str, names: Sequence[str], uri: str, validity: timedelta, now: datetime | None = None
) -> Pair:
    """A certificate for one service, for servers and clients.

    Args:
        issuer: the authority.
        name: common name, for people.
        names: DNS names of the service.
        uri: its SPIFFE-style identity.
        validity: how long it is good.
        now: present time.
    """
    now = now or datetime.now(UTC)
    parent, parent_key = x509.load_pem_x509_certificate(issuer.certificate), _key(issuer.key)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [x509.DNSName(entry) for entry in names]
    built = (
        _builder(_name(name), parent.subject, key, now, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName([*alternatives, x509.UniformResourceIdentifier(uri)]), critical=False
        )
        .sign(parent_key, hashes.SHA256())
    )
    return _pair(built, key)


def is_due(issuer: Pair, certificate: bytes, names: Sequence[str], now: datetime | None = None) -> bool:
    """Whether a certificate should be issued anew: past two thirds of its time, of another authority, or for other names."""
    now = now or datetime.now(UTC)
    try:
        found = x509.load_pem_x509_certificate(certificate)
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(issuer.certificate))
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return True
    begun, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return now >= begun + (ends - begun) * _RENEW_AT or set(held.get_values_for_type(x509.DNSName)) != set(
        names
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    validity: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + validity)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an elliptic curve key")  # noqa: TRY004 - as in material
    return key


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
