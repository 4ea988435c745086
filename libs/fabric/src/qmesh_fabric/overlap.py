"""Protocol /qmesh/overlap/1.0.0: factors of an ideal state go to the holder of a version, overlaps come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import channel_pb2, state_pb2
from qmesh_fabric.chunks import Arrival, digest_of, receive_chunk, send_chunks
from qmesh_fabric.errors import FabricError, PeerGone, RemoteError
from qmesh_fabric.frames import FrameError, Framer, end_stream
from qmesh_fabric.host import Host
from qmesh_fabric.protocols import OVERLAP

log = structlog.get_logger()

_AMPLITUDE = 16
_ATTEMPTS = 3
_STEP_SECONDS = 10.0
_COMPUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Overlaps of a version's rows with factors.

    Attributes:
        rows: number of rows.
        values: `overlaps[terms, rows]` of complex128, <factor|row>, as bytes.
        row_of_shot: row of each shot, little-endian uint32, as bytes.
    """

    rows: int
    values: memoryview
    row_of_shot: memoryview


class Comparison(Protocol):
    """One admitted comparison at a holder."""

    size: int
    """Bytes of all factors."""

    async def answer(self, factors: bytearray) -> tuple[int, Sequence[memoryview]]:
        """Number of rows, and the memory of overlaps and row_of_shot.

        Raises:
            FabricError: the factors are none, or the version is not here any more.
        """
        ...


Admit = Callable[[str, state_pb2.OverlapRequest], AbstractContextManager[Comparison]]
"""Admits a comparison for a peer, memory included, which is given back at the end of the context; or raises FabricError."""


async def compare(
    host: Host,
    ref: state_pb2.ComponentRef,
    addresses: Sequence[str],
    factors: bytes | memoryview,
    *,
    terms: int,
    fence: int,
) -> Overlaps:
    """Has the holder of a version compare it with factors; a broken push is begun again.

    Args:
        host: our host.
        ref: the version.
        addresses: addresses of its holder.
        factors: `terms` normalised vectors over the wires of the version, complex128, one behind the other.
        terms: how many.
        fence: the job's current claim.

    Raises:
        RemoteError: the holder refused, or its answer is none.
        PeerGone: the holder cannot be reached.
    """
    request = state_pb2.OverlapRequest(
        id=ref.id,
        digest=ref.digest,
        fence=fence,
        wires=ref.wires,
        terms=terms,
        factors_digest=await digest_of(factors),
    )
    expected = _AMPLITUDE * terms * ref.rows, 4 * ref.shots.count
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _attempt(host, ref, addresses, request, memoryview(factors).cast("B"), expected)
        except PeerGone:
            if attempt == _ATTEMPTS:
                raise
            await trio.sleep(0.05 * attempt)
    raise AssertionError  # the loop returns or raises


async def _attempt(
    host: Host,
    ref: state_pb2.ComponentRef,
    addresses: Sequence[str],
    request: state_pb2.OverlapRequest,
    factors: memoryview,
    expected: tuple[int, int],
) -> Overlaps:
    stream = await host.open_stream(ref.holder, addresses, OVERLAP)
    framer = Framer(stream)
    try:
        await framer.send(request.SerializeToString())
        with trio.fail_after(_STEP_SECONDS):
            admission = state_pb2.OverlapAdmission.FromString(await framer.receive())
        _raise_refusal(admission)
        await send_chunks(framer, [factors])
        with trio.fail_after(_COMPUTE_SECONDS):
            header = state_pb2.OverlapHeader.FromString(await framer.receive())
        _raise_refusal(header)
        if (header.overlaps_bytes, header.total_bytes) != (expected[0], sum(expected)):
            raise RemoteError("INVALID_ANSWER", "the overlaps are not of the size that the version asks for")  # noqa: TRY301 - one place tells them apart
        arrival = Arrival(header.total_bytes)
        while not arrival.complete:
            with trio.fail_after(_STEP_SECONDS):
                await receive_chunk(framer, arrival)
    except RemoteError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises many kinds for a broken stream
        raise PeerGone(f"the push to {ref.holder} broke: {error!r}"[:200]) from None
    finally:
        await end_stream(stream)
    if await digest_of(arrival.data) != header.digest:
        raise RemoteError("DIGEST_MISMATCH", "the overlaps that arrived are not those that were sent")
    data = memoryview(arrival.data)
    return Overlaps(ref.rows, data[: expected[0]], data[expected[0] :])


def _raise_refusal(answer: state_pb2.OverlapAdmission | state_pb2.OverlapHeader) -> None:
    if answer.HasField("error"):
        raise RemoteError(answer.error.code, answer.error.message)


def serve_overlap(admit: Admit) -> Callable[[str, Any], Awaitable[None]]:
    """Stream handler of a holder."""

    async def on_stream(peer_id: str, stream: Any) -> None:
        framer = Framer(stream)
        try:
            with trio.fail_after(_STEP_SECONDS):
                request = state_pb2.OverlapRequest.FromString(await framer.receive())
            try:
                with admit(peer_id, request) as comparison:
                    await framer.send(state_pb2.OverlapAdmission().SerializeToString())
                    await _serve(framer, comparison, request.factors_digest)
            except _RefusedLateError as refusal:
                await framer.send(state_pb2.OverlapHeader(error=refusal.error).SerializeToString())
            except FabricError as error:
                refused = state_pb2.OverlapAdmission(error=_error_of(error))
                await framer.send(refused.SerializeToString())
        except (DecodeError, FrameError, trio.TooSlowError) as error:
            log.warning("a push was reset", peer=peer_id, error=repr(error))
            await end_stream(stream)
        except Exception as error:  # noqa: BLE001 - the other end went away
            log.debug("a push ended", peer=peer_id, error=repr(error)[:200])
            await end_stream(stream)
        else:
            await end_stream(stream, reset=False)

    return on_stream


class _RefusedLateError(Exception):
    """A refusal after the factors."""

    def __init__(self, error: FabricError) -> None:
        self.error = _error_of(error)
        super().__init__(error.message)


def _error_of(error: FabricError) -> channel_pb2.Error:
    return channel_pb2.Error(code=error.code, message=error.message)


async def _serve(framer: Framer, comparison: Comparison, digest: bytes) -> None:
    """Takes the factors, and answers."""
    try:
        arrival = Arrival(comparison.size)
        while not arrival.complete:
            with trio.fail_after(_STEP_SECONDS):
                await receive_chunk(framer, arrival)
        if await digest_of(arrival.data) != digest:
            raise FabricError("DIGEST_MISMATCH", "the factors that arrived are not those that were announced")  # noqa: TRY301 - one place tells the sender
        rows, parts = await _answer(comparison, arrival.data)
    except FabricError as error:
        raise _RefusedLateError(error) from None
    whole = b"".join(parts)
    header = state_pb2.OverlapHeader(
        rows=rows,
        overlaps_bytes=parts[0].nbytes,
        total_bytes=len(whole),
        digest=await digest_of(whole),
    )
    with trio.fail_after(_COMPUTE_SECONDS):  # the memory of the comparison is held until then
        await framer.send(header.SerializeToString())
        await send_chunks(framer, [memoryview(whole)])


async def _answer(comparison: Comparison, factors: bytearray) -> tuple[int, Sequence[memoryview]]:
    try:
        return await comparison.answer(factors)
    except FabricError:
        raise
    except Exception:
        log.exception("a comparison failed")
        raise FabricError("INTERNAL", "the comparison failed unexpectedly") from None
