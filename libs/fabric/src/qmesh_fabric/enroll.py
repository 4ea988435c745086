"""Protocol /qmesh/enroll/1.0.0: key proof by a nonce that is good once, and a pool token where the peer has one."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import enroll_pb2 as pb
from qmesh_fabric.errors import FabricError, PeerGone
from qmesh_fabric.frames import FrameError, Framer, end_stream
from qmesh_fabric.host import Host
from qmesh_fabric.identity import Identity, verify
from qmesh_fabric.protocols import ENROLL

log = structlog.get_logger()

_DOMAIN = b"qmesh-enroll-v1"
_SECONDS = 10.0
_FRAME = 16 << 10
_NAME, _SUMMARY, _ADDRESSES = 64, 1024, 4  # the contract's bounds

Decide = Callable[[pb.EnrollHello, str], Awaitable[pb.EnrollResult]]
"""Decides from the proven hello and the pool token (empty without one)."""


def signed_bytes(nonce: bytes, peer_id: str, registry_peer_id: str) -> bytes:
    """What the peer signs."""
    return b"\0".join([_DOMAIN, nonce, peer_id.encode(), registry_peer_id.encode()])


async def enroll(
    host: Host,
    identity: Identity,
    registry: str,
    addresses: Sequence[str],
    hello: pb.EnrollHello,
    pool_token: str = "",
) -> pb.EnrollResult:
    """Asks a registry to admit us.

    Raises:
        PeerGone: the registry did not answer.
    """
    stream = await host.open_stream(registry, addresses, ENROLL)
    try:
        with trio.fail_after(_SECONDS):
            framer = Framer(stream, _FRAME)
            await framer.send(hello.SerializeToString())
            challenge = pb.EnrollChallenge.FromString(await framer.receive())
            proof = signed_bytes(challenge.nonce, identity.peer_id, registry)
            answer = pb.EnrollProof(signature=identity.sign(proof), pool_token=pool_token)
            await framer.send(answer.SerializeToString())
            return pb.EnrollResult.FromString(await framer.receive())
    except Exception as error:  # noqa: BLE001 - the library raises many kinds for one fact
        raise PeerGone(f"the registry did not finish the enrollment: {error!r}"[:200]) from None
    finally:
        await end_stream(stream)


def serve_enroll(host: Host, decide: Decide) -> Callable[[str, Any], Awaitable[None]]:
    """Stream handler of a registry."""

    async def on_stream(peer_id: str, stream: Any) -> None:
        framer = Framer(stream, _FRAME)
        try:
            with trio.fail_after(_SECONDS):
                result = await _converse(host.peer_id, peer_id, framer, decide)
                await framer.send(result.SerializeToString())
        except (FabricError, FrameError, DecodeError, trio.TooSlowError) as error:
            log.warning("enrollment refused", peer=peer_id, error=repr(error))
            await end_stream(stream)
        except Exception as error:  # noqa: BLE001 - the peer went away, or the decision failed
            log.warning("an enrollment broke off", peer=peer_id, error=repr(error)[:200])
            await end_stream(stream)
        else:
            await end_stream(stream, reset=False)

    return on_stream


async def _converse(own: str, peer_id: str, framer: Framer, decide: Decide) -> pb.EnrollResult:
    hello = pb.EnrollHello.FromString(await framer.receive())
    if hello.peer_id != peer_id:
        raise FabricError("PEER_MISMATCH", "the peer names another peer")
    if (
        len(hello.name) > _NAME
        or len(hello.capability_summary) > _SUMMARY
        or len(hello.listen_addrs) > _ADDRESSES
    ):
        raise FabricError("INVALID_ARGUMENT", "the hello is above its bounds")
    if not (hello.name.isprintable() and hello.capability_summary.isprintable()):
        raise FabricError("INVALID_ARGUMENT", "the hello has characters that nobody can read")
    nonce = secrets.token_bytes(32)
    await framer.send(pb.EnrollChallenge(nonce=nonce, registry_peer_id=own).SerializeToString())
    proof = pb.EnrollProof.FromString(await framer.receive())
    if not verify(peer_id, signed_bytes(nonce, peer_id, own), proof.signature):
        raise FabricError("SIGNATURE_INVALID", "the signature does not match")
    return await decide(hello, proof.pool_token)
