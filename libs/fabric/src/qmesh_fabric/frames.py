"""Varint-delimited messages on a stream; large reads go into one buffer of our own."""

from __future__ import annotations

from typing import Any

import structlog
import trio

log = structlog.get_logger()

MAX_FRAME = (1 << 20) + 1024
_READ = 65536
_VARINT = 5
_END_SECONDS = 1.0


class FrameError(Exception):
    """A length that no honest peer sends."""


class Framer:
    """Reads and writes frames of one stream; one writer and one reader at a time."""

    def __init__(self, stream: Any, limit: int = MAX_FRAME) -> None:
        """Takes a libp2p stream and the greatest frame in bytes."""
        self._stream = stream
        self._buffer = bytearray()
        self._limit = limit

    async def send(self, *parts: bytes | memoryview) -> None:
        """Sends one frame, made of parts that are copied once, in one write."""
        size = sum(len(part) for part in parts)
        await self._stream.write(b"".join([varint(size), *parts]))

    async def fill(self, count: int) -> bytearray:
        """What has arrived, at least so many bytes of it; the caller may take from its beginning.

        Raises:
            EOFError: the stream ended before.
        """
        while len(self._buffer) < count:
            data = await self._stream.read(_READ)
            if not data:
                raise EOFError("the stream ended")
            self._buffer += data
        return self._buffer

    async def pour(self, target: memoryview) -> None:
        """The next bytes, whatever frames they are in, straight into memory.

        Raises:
            EOFError: the stream ended before.
        """
        at = min(len(self._buffer), len(target))
        target[:at] = self._buffer[:at]
        del self._buffer[:at]
        while at < len(target):
            data = await self._stream.read(min(_READ, len(target) - at))
            if not data:
                raise EOFError("the stream ended")
            target[at : at + len(data)] = data
            at += len(data)

    def _take(self) -> bytes | None:
        size = shift = 0
        for index, byte in enumerate(self._buffer[:_VARINT]):
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # noqa: PLR2004 - varint
                start = index + 1
                break
        else:
            if len(self._buffer) >= _VARINT:
                raise FrameError("the length does not end")
            return None
        if size > self._limit:
            raise FrameError(f"a frame of {size} bytes is above {self._limit}")
        if len(self._buffer) < start + size:
            return None
        payload = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return payload

    async def receive(self) -> bytes:
        """The next frame.

        Raises:
            FrameError: the length is above the limit.
            Exception: the library's StreamEOF or StreamReset at the end of the stream.
        """
        while True:
            payload = self._take()
            if payload is not None:
                return payload
            data = await self._stream.read(_READ)
            if not data:
                raise EOFError("the stream ended")
            self._buffer += data


def varint(value: int) -> bytes:
    """A number in base 128, least significant digits first."""
    made = bytearray()
    while value > 127:  # noqa: PLR2004 - varint
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


async def end_stream(stream: Any, *, reset: bool = True) -> None:
    """Resets or closes a stream, also while the caller is being cancelled; one that is gone is no error."""
    with trio.CancelScope(shield=True), trio.move_on_after(_END_SECONDS):
        try:
            await (stream.reset() if reset else stream.close())
        except Exception as error:  # noqa: BLE001 - it is gone either way
            log.debug("end of a stream", error=repr(error))
