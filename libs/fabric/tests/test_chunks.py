"""Chunks of a state on the wire: as our holders spell them, as others may, and cut anywhere."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import trio_test

from qmesh.fabric.v1 import state_pb2
from qmesh_fabric import chunks, state
from qmesh_fabric.errors import RemoteError
from qmesh_fabric.frames import FrameError, Framer, varint


class Pipe:
    """A stream whose reads end wherever they like."""

    def __init__(self, data: bytes, seed: int) -> None:
        self.data = bytearray(data)
        self.written = bytearray()
        self.random = random.Random(seed)

    async def read(self, count: int) -> bytes:
        """Some of the bytes."""
        await trio.lowlevel.checkpoint()
        size = min(count, self.random.choice([1, 2, 3, 7, 100, 5000]))
        piece = bytes(self.data[:size])
        del self.data[:size]
        return piece

    async def write(self, data: bytes) -> None:
        """Keeps them."""
        self.written += data


def _frame(payload: bytes) -> bytes:
    return varint(len(payload)) + payload


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def _transfer(total: int) -> state._Transfer:
    made = state._Transfer(1 << 30)
    made.begin(state_pb2.PullHeader(total_bytes=total))
    return made


@pytest.mark.parametrize("seed", range(20))
@trio_test
async def test_chunks_of_any_spelling_arrive(seed: int) -> None:
    """Usual chunks, the data before the offset, unknown fields, and very small ones, in one transfer."""
    rng = random.Random(seed)
    whole = rng.randbytes(20_000)
    wire, at = b"", 0
    while at < len(whole):
        data = whole[at : at + rng.choice([1, 10, 300, 4000])]
        usual = state_pb2.StateChunk(offset=at, data=data).SerializeToString()
        offset = b"\x08" + varint(at)
        wire += _frame(
            rng.choice(
                [usual, usual, _field(2, data) + offset, _field(9, b"more") + usual, usual + _field(9, b"x")]
            )
        )
        at += len(data)
    transfer, framer = _transfer(len(whole)), Framer(Pipe(wire, seed))
    while transfer.received < len(whole):
        await chunks.receive_chunk(framer, transfer)
    assert transfer.data == whole


@trio_test
async def test_what_is_sent_is_the_message() -> None:
    """A holder writes frames of StateChunk as protobuf serialises them."""
    pipe = Pipe(b"", 1)
    data = random.Random(1).randbytes(chunks.CHUNK + 1000)
    await state._send(Framer(pipe), state_pb2.ComponentRef(), [memoryview(data), memoryview(b"rows")], 0)
    header = state_pb2.PullHeader(
        ref=state_pb2.ComponentRef(), rows_bytes=len(data), total_bytes=len(data) + 4
    )
    expected = _frame(header.SerializeToString())
    for offset, piece in (
        (0, data[: chunks.CHUNK]),
        (chunks.CHUNK, data[chunks.CHUNK :]),
        (len(data), b"rows"),
    ):
        expected += _frame(state_pb2.StateChunk(offset=offset, data=piece).SerializeToString())
    assert bytes(pipe.written) == expected


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (_frame(state_pb2.StateChunk(offset=5, data=b"abc").SerializeToString()), RemoteError),
        (_frame(state_pb2.StateChunk(data=b"a" * 101).SerializeToString()), RemoteError),
        (_frame(b"\x0a\x00" + b"\x12\x00"), RemoteError),
        (b"\xff" * 40, FrameError),
        (_frame(state_pb2.StateChunk(data=b"abc").SerializeToString())[:-1], EOFError),
        (varint(1 << 40) + b"\x12" + varint((1 << 40) - 7) + bytes(40), FrameError),
        (b"", EOFError),
    ],
)
@trio_test
async def test_a_chunk_that_is_none_ends_the_pull(wire: bytes, error: type[Exception]) -> None:
    """Out of place, too large, empty, without an end, cut off: a typed error, and nothing counts as received."""
    transfer = _transfer(100)
    with pytest.raises(error):
        await chunks.receive_chunk(Framer(Pipe(wire, 3)), transfer)
    assert transfer.received == 0
