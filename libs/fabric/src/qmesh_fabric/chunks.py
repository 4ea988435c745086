"""Runs of bytes in chunks with their offsets, straight into their destination; of states, and of factors and overlaps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import trio

from qmesh.fabric.v1 import state_pb2
from qmesh_fabric.errors import RemoteError
from qmesh_fabric.frames import MAX_FRAME, FrameError, Framer, varint

CHUNK = 256 << 10
_HASHED_HERE = 1 << 20
_OFFSET, _DATA = 0x08, 0x12
"""Tags of the fields of StateChunk."""
_VARINT = 10
_HEAD = 32
"""Bytes that hold the length of a frame and everything of a chunk before its data."""


class Arrival:
    """What has arrived so far of a run of bytes whose size is known."""

    def __init__(self, size: int = 0) -> None:
        """Takes the size in bytes; that memory is allocated now."""
        self.data = bytearray(size)
        self.received = 0

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return self.received == len(self.data)

    def take(self, chunk: state_pb2.StateChunk) -> None:
        """Copies a chunk to its place.

        Raises:
            RemoteError: it has no place there.
        """
        end = chunk.offset + len(chunk.data)
        if chunk.offset != self.received or end > len(self.data) or not chunk.data:
            raise RemoteError("CHUNK_OUT_OF_PLACE", "a chunk is not where it should be")
        self.data[chunk.offset : end] = chunk.data
        self.received = end

    def room(self, offset: int, count: int) -> memoryview:
        """Where the next chunk goes.

        Raises:
            RemoteError: it has no place there.
        """
        if offset != self.received or offset + count > len(self.data):
            raise RemoteError("CHUNK_OUT_OF_PLACE", "a chunk is not where it should be")
        return memoryview(self.data)[offset : offset + count]


async def receive_chunk(framer: Framer, arrival: Arrival) -> None:
    """The next chunk: as we send it straight into its destination, in any other spelling of the message by way of a copy.

    Raises:
        RemoteError: it is not where it should be.
        FrameError, EOFError: it is no chunk, or the stream ended.
    """
    buffer = await framer.fill(1)
    while len(buffer) < _HEAD and not _is_whole(buffer):
        buffer = await framer.fill(len(buffer) + 1)
    size, at = _number(buffer, 0)
    end, offset = at + size, 0
    if at < len(buffer) and buffer[at] == _OFFSET:
        offset, at = _number(buffer, at + 1)
    if at < len(buffer) and buffer[at] == _DATA:
        count, at = _number(buffer, at + 1)
        if at + count == end and 0 < count <= MAX_FRAME:
            target = arrival.room(offset, count)
            del buffer[:at]
            await framer.pour(target)
            arrival.received += count
            return
    arrival.take(state_pb2.StateChunk.FromString(await framer.receive()))


def _number(buffer: bytearray, at: int) -> tuple[int, int]:
    """A varint, and the place after it.

    Raises:
        FrameError: it does not end.
    """
    value = 0
    for place in range(_VARINT):
        if at + place >= len(buffer):
            break
        value |= (buffer[at + place] & 127) << 7 * place
        if buffer[at + place] < 128:  # noqa: PLR2004 - varint
            return value, at + place + 1
    raise FrameError("a number does not end")


def _is_whole(buffer: bytearray) -> bool:
    """Whether the frame at the beginning has arrived; it may be shorter than the head of a chunk."""
    if all(byte > 127 for byte in buffer[:_VARINT]):  # noqa: PLR2004 - varint
        return len(buffer) >= _VARINT
    size, at = _number(buffer, 0)
    return len(buffer) >= at + size


async def send_chunks(framer: Framer, parts: Sequence[memoryview], offset: int = 0) -> None:
    """Sends parts, one behind the other, from an offset on."""
    base = 0
    for part in parts:
        if not part.nbytes:
            continue  # a view with a zero in its shape cannot be cast
        flat = part.cast("B")
        start = max(0, offset - base)
        for at in range(start, flat.nbytes, CHUNK):
            data = flat[at : at + CHUNK]
            head = bytes([_OFFSET]) + varint(base + at) if base + at else b""  # as the message is serialised
            await framer.send(head, bytes([_DATA]) + varint(len(data)), data)
        base += flat.nbytes


async def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    """SHA-256, of large data in a thread: a gigabyte would hold up every stream for a second."""
    if len(data) <= _HASHED_HERE:
        return hashlib.sha256(data).digest()
    return await trio.to_thread.run_sync(lambda: hashlib.sha256(data).digest())
