"""Pushes of factors to a holder of a version, honest and other."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric.chunks import CHUNK
from qmesh_fabric.errors import FabricError, PeerGone, RemoteError
from qmesh_fabric.frames import Framer
from qmesh_fabric.overlap import Overlaps, compare, serve_overlap
from qmesh_fabric.protocols import OVERLAP

TERMS, ROWS, SHOTS = 2, 3, 5
SIZE = 3 * CHUNK + 16
FACTORS = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)
ANSWER = bytes(range(16 * TERMS * ROWS)), bytes(range(4 * SHOTS))


class Holder:
    """Admits comparisons of one version, and notes what it was given and what it still holds."""

    def __init__(self, peer_id: str) -> None:
        self.ref = state.ComponentRef(
            id=state.ComponentId(job_id="job"),
            holder=peer_id,
            rows=ROWS,
            shots=state.ShotRange(count=SHOTS),
            digest=b"d" * 32,
        )
        self.size = SIZE
        self.given: list[bytes] = []
        self.held = 0
        self.admitted = 0
        self.refusal: Exception | None = None

    @contextmanager
    def admit(self, _peer_id: str, request: state.OverlapRequest) -> Iterator[Holder]:
        """Refuses other jobs."""
        if request.id.job_id != "job":
            raise FabricError("NOT_FOUND", "this version is not here")
        self.admitted += 1
        self.held += 1
        try:
            yield self
        finally:
            self.held -= 1

    async def answer(self, factors: bytearray) -> tuple[int, Sequence[memoryview]]:
        """Always the same overlaps."""
        self.given.append(bytes(factors))
        if self.refusal is not None:
            raise self.refusal
        return ROWS, [memoryview(part) for part in ANSWER]


Handler = Callable[[str, Any], Awaitable[None]]


def compared(
    pair: Any,
    prepare: Callable[[Holder], None] = lambda _holder: None,
    handler: Callable[[Holder, Handler], Handler] = lambda _holder, good: good,
    factors: bytes = FACTORS,
) -> tuple[Holder, Any]:
    """One comparison by the server for the client; a refusal is returned, not raised."""

    async def main() -> tuple[Holder, Any]:
        with trio.fail_after(20):
            async with pair() as hosts:
                holder = Holder(hosts.server.peer_id)
                prepare(holder)
                hosts.server.serve(OVERLAP, handler(holder, serve_overlap(holder.admit)))
                try:
                    found = await compare(
                        hosts.client, holder.ref, hosts.addresses, factors, terms=TERMS, fence=1
                    )
                except (RemoteError, PeerGone) as error:
                    return holder, error
                return holder, found

    return trio.run(main)


def test_factors_arrive_and_overlaps_come_back(pair: Any) -> None:
    """In several chunks, byte for byte; the holder keeps nothing."""
    holder, found = compared(pair)
    assert holder.given == [FACTORS]
    assert isinstance(found, Overlaps)
    assert (found.rows, bytes(found.values), bytes(found.row_of_shot)) == (ROWS, *ANSWER)
    assert (holder.held, holder.admitted) == (0, 1)


def test_a_refusal_comes_before_the_factors(pair: Any) -> None:
    """A job that the holder does not know: typed, not tried again, and not a byte of the factors is taken."""
    holder, error = compared(pair, lambda h: setattr(h.ref.id, "job_id", "other"))
    assert error.code == "NOT_FOUND"
    assert (holder.given, holder.admitted) == ([], 0)


def test_a_refusal_after_the_factors(pair: Any) -> None:
    """A version that is gone when its factors are there: typed, and nothing stays."""
    holder, error = compared(pair, lambda h: setattr(h, "refusal", FabricError("NOT_FOUND", "released")))
    assert (error.code, len(holder.given), holder.held) == ("NOT_FOUND", 1, 0)


def test_a_comparison_that_fails_says_nothing_of_why(pair: Any) -> None:
    """A bug of the holder: INTERNAL without its text, not tried again, and nothing stays."""
    holder, error = compared(pair, lambda h: setattr(h, "refusal", RuntimeError("secret")))
    assert (error.code, "secret" in str(error)) == ("INTERNAL", False)
    assert (holder.admitted, holder.held) == (1, 0)


def test_more_factors_than_announced(pair: Any) -> None:
    """Bytes above what was admitted have no place: typed, never compared."""
    holder, error = compared(pair, lambda h: setattr(h, "size", SIZE - 8))
    assert (error.code, holder.given, holder.held) == ("CHUNK_OUT_OF_PLACE", [], 0)


class Torn:
    """A stream that is reset after some reads."""

    def __init__(self, stream: Any, reads: int) -> None:
        self.stream, self.left = stream, reads

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    async def read(self, count: int) -> bytes:
        """Reads, so many times."""
        self.left -= 1
        if not self.left:
            await self.stream.reset()
            raise EOFError
        return bytes(await self.stream.read(count))


def test_a_broken_push_is_begun_again(pair: Any) -> None:
    """A stream that breaks inside the factors leaves nothing, and the next one gives the overlaps."""

    def breaks_once(holder: Holder, good: Handler) -> Handler:
        async def serve(peer_id: str, stream: Any) -> None:
            await good(peer_id, stream if holder.admitted else Torn(stream, 4))
            assert holder.held == 0

        return serve

    holder, found = compared(pair, handler=breaks_once)
    assert isinstance(found, Overlaps)
    assert (holder.admitted, holder.held, holder.given) == (2, 0, [FACTORS])


def test_a_holder_that_is_always_torn_is_gone(pair: Any) -> None:
    """After the third break the holder counts as gone."""

    def breaks(holder: Holder, good: Handler) -> Handler:
        async def serve(peer_id: str, stream: Any) -> None:
            await good(peer_id, Torn(stream, 3))

        return serve

    holder, error = compared(pair, handler=breaks)
    assert isinstance(error, PeerGone)
    assert (holder.admitted, holder.held, holder.given) == (3, 0, [])


@pytest.mark.parametrize(
    ("code", "header", "chunks"),
    [
        ("INVALID_ANSWER", {"overlaps_bytes": 96, "total_bytes": 1 << 40}, []),
        ("INVALID_ANSWER", {"overlaps_bytes": 200, "total_bytes": 116}, []),
        ("CHUNK_OUT_OF_PLACE", {"overlaps_bytes": 96, "total_bytes": 116}, [{"offset": 1, "data": b"1"}]),
        ("DIGEST_MISMATCH", {"overlaps_bytes": 96, "total_bytes": 116}, [{"data": bytes(116)}]),
    ],
)
def test_a_dishonest_holder(
    pair: Any, code: str, header: dict[str, Any], chunks: list[dict[str, Any]]
) -> None:
    """An answer of another size, out of place or with another digest is a typed error; no memory is taken on its word."""

    def lies(_holder: Holder, _good: Handler) -> Handler:
        async def serve(_peer_id: str, stream: Any) -> None:
            framer = Framer(stream)
            await framer.receive()
            await framer.send(state.OverlapAdmission().SerializeToString())
            at = 0
            while at < SIZE:
                at += len(state.StateChunk.FromString(await framer.receive()).data)
            await framer.send(state.OverlapHeader(**header).SerializeToString())
            for chunk in chunks:
                await framer.send(state.StateChunk(**chunk).SerializeToString())

        return serve

    _, error = compared(pair, handler=lies)
    assert isinstance(error, RemoteError)
    assert error.code == code


def test_what_is_announced_is_checked(pair: Any) -> None:
    """Factors with another digest than announced are refused and not compared; garbage ends the stream; the holder goes on."""

    async def main() -> None:
        with trio.fail_after(20):
            async with pair() as hosts:
                holder = Holder(hosts.server.peer_id)
                hosts.server.serve(OVERLAP, serve_overlap(holder.admit))
                stream = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, OVERLAP)
                framer = Framer(stream)
                wrong = hashlib.sha256(b"else").digest()
                request = state.OverlapRequest(id=holder.ref.id, factors_digest=wrong)
                await framer.send(request.SerializeToString())
                assert not state.OverlapAdmission.FromString(await framer.receive()).HasField("error")
                for at in range(0, SIZE, CHUNK):
                    chunk = state.StateChunk(offset=at, data=FACTORS[at : at + CHUNK])
                    await framer.send(chunk.SerializeToString())
                header = state.OverlapHeader.FromString(await framer.receive())
                assert (header.error.code, holder.given, holder.held) == ("DIGEST_MISMATCH", [], 0)
                garbage = await hosts.client.open_stream(hosts.server.peer_id, hosts.addresses, OVERLAP)
                await Framer(garbage).send(b"\xff\xff\xff")
                with pytest.raises(Exception, match=r".*"):  # the library's own kinds
                    await Framer(garbage).receive()
                found = await compare(
                    hosts.client, holder.ref, hosts.addresses, FACTORS, terms=TERMS, fence=1
                )
                assert bytes(found.values) == ANSWER[0]

    trio.run(main)
