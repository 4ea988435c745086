"""Checks reservation tokens: Ed25519 over the claims, by up to two public keys (rotation)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh_node.domain.errors import RejectedError

_DOMAIN = b"qmesh-token-v1\0"


class TokenChecker:
    """Admits what a reservation has promised, remembering signatures that were checked."""

    def __init__(self, public_keys: Sequence[bytes]) -> None:
        """Takes raw Ed25519 public keys."""
        self._keys = {
            hashlib.sha256(raw).digest()[:8]: Ed25519PublicKey.from_public_bytes(raw) for raw in public_keys
        }
        self._checked: dict[bytes, reservation.TokenClaims] = {}

    def check(
        self, token: bytes, *, job_id: str, node_id: str, now: float, fence: int | None = None
    ) -> reservation.TokenClaims:
        """Claims of a token that is genuine, of this job and node, and alive.

        Args:
            token: as it came.
            job_id: job that it should be for.
            node_id: node that it should be for.
            now: Unix time in seconds.
            fence: claim of the request, which the token's must not exceed; None where a request carries none.

        Raises:
            RejectedError: it is not.
        """
        claims = self._claims(token)
        if claims.job_id != job_id:
            raise RejectedError("the reservation token is for another job")
        if claims.node_id != node_id:
            raise RejectedError("the reservation token is for another node")
        if fence is not None and claims.fence > fence:
            raise RejectedError("the reservation token is of a later claim")
        if not claims.expires_at >= now:  # also when it is not a number
            raise RejectedError("the reservation token has expired")
        return claims

    def _claims(self, token: bytes) -> reservation.TokenClaims:
        known = self._checked.get(token)
        if known is not None:
            return known
        try:
            outer = reservation.Token.FromString(token)
            claims = reservation.TokenClaims.FromString(outer.claims)
        except DecodeError:
            raise RejectedError("the reservation token cannot be read") from None
        key = self._keys.get(claims.key_id)
        if key is None:
            raise RejectedError("the reservation token is signed by an unknown key")
        try:
            key.verify(outer.signature, _DOMAIN + outer.claims)
        except InvalidSignature:
            raise RejectedError("the signature of the reservation token does not match") from None
        if len(self._checked) > 4096:  # noqa: PLR2004 - a bound on memory, not a policy
            self._checked.clear()
        self._checked[token] = claims
        return claims
