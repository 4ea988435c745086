"""Protocol /qmesh/state/1.0.0: immutable versions move between peers in chunks, straight into their destination."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import channel_pb2, state_pb2
from qmesh_fabric.chunks import Arrival, digest_of, receive_chunk, send_chunks
from qmesh_fabric.errors import FabricError, PeerGone, RemoteError
from qmesh_fabric.frames import FrameError, Framer, end_stream
from qmesh_fabric.host import Host
from qmesh_fabric.protocols import STATE

log = structlog.get_logger()

_ATTEMPTS = 3
_REQUEST_SECONDS = 10.0

Opened = tuple[state_pb2.ComponentRef, Sequence[memoryview]]
Open = Callable[[str, state_pb2.PullRequest], Opened]
"""Opens a version for a peer: its reference, and the memory of rows and row_of_shot; or raises FabricError."""


async def pull(
    host: Host,
    ref: state_pb2.ComponentRef,
    addresses: Sequence[str],
    *,
    token: bytes = b"",
    fence: int = 0,
    limit: int = 1 << 34,
) -> tuple[state_pb2.ComponentRef, bytearray, int]:
    """A version from its holder, resumed after a broken stream, checked against its digest.

    Returns:
        Reference as the holder gives it, the bytes, and how many of them are rows.

    Raises:
        RemoteError: the holder refused, or the digest does not match.
        PeerGone: the holder cannot be reached.
    """
    transfer = _Transfer(limit)
    for attempt in range(1, _ATTEMPTS + 1):
        request = state_pb2.PullRequest(
            id=ref.id, digest=ref.digest, offset=transfer.received, reservation_token=token, fence=fence
        )
        try:
            await _attempt(host, ref.holder, addresses, request, transfer)
            break
        except PeerGone:
            if attempt == _ATTEMPTS:
                raise
            await trio.sleep(0.05 * attempt)
    header = transfer.header
    if header is None:
        raise PeerGone(f"{ref.holder} sent no header")
    digest = await digest_of(transfer.data)
    if digest != (ref.digest or header.ref.digest):
        raise RemoteError("DIGEST_MISMATCH", "the version that arrived is not the one that was asked for")
    return header.ref, transfer.data, header.rows_bytes


class _Transfer(Arrival):
    """What has arrived so far of a version."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.header: state_pb2.PullHeader | None = None
        self.limit = limit

    def begin(self, header: state_pb2.PullHeader) -> None:
        if header.total_bytes > self.limit:
            raise RemoteError("RESOURCE_EXHAUSTED", f"a version of {header.total_bytes} bytes does not fit")
        if header.rows_bytes > header.total_bytes:
            raise RemoteError("INVALID_ANSWER", "the rows are larger than the whole")
        if self.header is None:
            self.data = bytearray(header.total_bytes)
        elif self.header.ref.digest != header.ref.digest:
            raise RemoteError("DIGEST_MISMATCH", "the version changed while it was pulled")
        self.header = header


async def _attempt(
    host: Host, holder: str, addresses: Sequence[str], request: state_pb2.PullRequest, transfer: _Transfer
) -> None:
    stream = await host.open_stream(holder, addresses, STATE)
    framer = Framer(stream)
    try:
        await framer.send(request.SerializeToString())
        with trio.fail_after(_REQUEST_SECONDS):
            header = state_pb2.PullHeader.FromString(await framer.receive())
        if header.HasField("error"):
            raise RemoteError(header.error.code, header.error.message)  # noqa: TRY301 - one place tells them apart
        transfer.begin(header)
        while transfer.received < header.total_bytes:
            with trio.fail_after(_REQUEST_SECONDS):
                await receive_chunk(framer, transfer)
    except RemoteError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises many kinds for a broken stream
        raise PeerGone(f"the pull from {holder} broke: {error!r}"[:200]) from None
    finally:
        await end_stream(stream)


def serve_state(open_version: Open) -> Callable[[str, Any], Awaitable[None]]:
    """Stream handler of a holder."""

    async def on_stream(peer_id: str, stream: Any) -> None:
        framer = Framer(stream)
        try:
            with trio.fail_after(_REQUEST_SECONDS):
                request = state_pb2.PullRequest.FromString(await framer.receive())
            try:
                ref, parts = open_version(peer_id, request)
            except FabricError as error:
                refusal = channel_pb2.Error(code=error.code, message=error.message)
                await framer.send(state_pb2.PullHeader(error=refusal).SerializeToString())
            else:
                await _send(framer, ref, parts, request.offset)
        except (DecodeError, FrameError, trio.TooSlowError) as error:
            log.warning("a pull was reset", peer=peer_id, error=repr(error))
            await end_stream(stream)
        except Exception as error:  # noqa: BLE001 - the puller went away; probes of links do so at once
            log.debug("a pull ended", peer=peer_id, error=repr(error)[:200])
            await end_stream(stream)
        else:
            await end_stream(stream, reset=False)

    return on_stream


async def _send(
    framer: Framer, ref: state_pb2.ComponentRef, parts: Sequence[memoryview], offset: int
) -> None:
    total = sum(part.nbytes for part in parts)
    header = state_pb2.PullHeader(ref=ref, rows_bytes=parts[0].nbytes, total_bytes=total)
    await framer.send(header.SerializeToString())
    await send_chunks(framer, parts, offset)
