import asyncio
from typing import Any

import pytest

HEAD = b"POST /api/v1/circuits/submit HTTP/1.1\r\nhost: mesh\r\ncontent-type: application/json\r\n"


async def test_declared_body_above_the_cap_is_413_before_it_is_sent(gateway: Any) -> None:
    """A content length above 1 MiB is refused from the head alone, and the connection is closed."""
    answer = await gateway.raw(HEAD + b"content-length: 209715200\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"BODY_TOO_LARGE" in answer


async def test_chunked_body_above_the_cap_is_413_without_buffering(gateway: Any) -> None:
    """A chunked body is refused when it passes 1 MiB, although it has not ended."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = await gateway.raw(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 17)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


async def test_stalled_body_is_408(start: Any) -> None:
    """A body that does not arrive in time ends with 408 and a closed connection."""
    async with start(body_timeout="200ms") as gateway:
        answer = await gateway.raw(HEAD + b"content-length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"BODY_TIMEOUT" in answer


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
        HEAD + b"content-length: -5\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nhost: a/?\r\nconnection: close\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_ambiguous_head_is_400(gateway: Any, head: bytes) -> None:
    """Heads that two readers could read in two ways are refused, and the next request is served."""
    assert (await gateway.raw(head)).startswith(b"HTTP/1.1 400")
    assert (await gateway.http.get("/health")).status_code == 200


@pytest.mark.parametrize("size", [40_000, 200_000, 2_000_000])
async def test_large_head_is_431(gateway: Any, size: int) -> None:
    """A head above 32 KiB is refused, also one that never ends."""
    end = b"\r\nconnection: close\r\n\r\n" if size < 1_000_000 else b""
    head = b"GET /api/v1/health HTTP/1.1\r\nhost: mesh\r\nx: " + b"y" * size + end
    assert (await gateway.raw(head)).startswith(b"HTTP/1.1 431")


async def test_a_client_that_never_reads_its_refusal_does_not_disturb(gateway: Any) -> None:
    """A hundred connections with half a head leave the gateway serving."""
    opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(100)]
    for _, writer in opened:
        writer.write(b"GET / HTTP/1.1\r\nho")
    assert (await gateway.http.get("/health")).status_code == 200
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405_with_allow(gateway: Any, method: str) -> None:
    """A method that a route does not have is a problem that says which it has."""
    answer = await gateway.http.request(method, "/health")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET"
