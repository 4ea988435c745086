"""Quantum service nodes over libp2p: long-lived gate streams, pulls of final versions, signatures checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import channel_pb2 as channel
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric import protocols
from qmesh_fabric.bridge import TrioThread
from qmesh_fabric.channel import Channels
from qmesh_fabric.errors import ChannelBusy, FabricError, PeerGone, RemoteError
from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity, verify
from qmesh_fabric.overlap import compare
from qmesh_fabric.state import pull
from qmesh_runtime.domain.overlap import HolderOverlaps
from qmesh_runtime.ports import CallTimeoutError, PeerGoneError

log = structlog.get_logger()

_RECORD_DOMAIN = b"qmesh-execution-v1\0"
_RELEASE_SECONDS = 2.0


class LibP2PNodes:
    """Satisfies the `Nodes` port."""

    def __init__(self, identity: Identity, admits: Callable[[str], bool]) -> None:
        """Takes the key of this runtime and the gate on peers; `start` begins."""
        self._identity = identity
        self._admits = admits
        self.thread = TrioThread()
        self._host: Host | None = None
        self._channels: Channels | None = None

    async def start(self) -> None:
        """Starts libp2p."""
        await self.thread.start(self._app)

    @asynccontextmanager
    async def _app(self) -> AsyncIterator[None]:
        async with open_host(self._identity, [], admits=self._admits) as host, trio.open_nursery() as nursery:
            self._host = host
            self._channels = Channels(host, protocols.GATE)
            await nursery.start(self._channels.run)
            yield
            nursery.cancel_scope.cancel()

    async def _call(  # noqa: C901 - one branch for each way in which a call ends
        self, node_id: str, addresses: Sequence[str], request: gate.GateRequest, timeout_seconds: float
    ) -> gate.GateResponse:
        """One call over the node's gate stream.

        Raises:
            PeerGoneError, CallTimeoutError, RemoteError: no good answer.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        payload = request.SerializeToString()
        number = 0

        def done(message: bytes | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(message or b"")

        def answer(message: bytes | None, error: BaseException | None) -> None:
            self.thread.post(done, message, error)

        def begin() -> None:
            nonlocal number
            try:
                if self._channels is None:
                    raise PeerGone("libp2p is not running")  # noqa: TRY301 - answered like every other failure
                number = self._channels.get(node_id, addresses).begin(payload, answer)
            except (PeerGone, ChannelBusy) as error:
                answer(None, error)

        def forget() -> None:
            if number and self._channels is not None:
                self._channels.get(node_id, addresses).forget(number)

        try:
            self.thread.run_soon(begin)
            async with asyncio.timeout(timeout_seconds):
                data = await future
        except TimeoutError:
            self.thread.run_soon(forget)
            raise CallTimeoutError(f"no answer within {timeout_seconds:.3g} s") from None
        except asyncio.CancelledError:
            self.thread.run_soon(forget)
            raise
        except (PeerGone, ChannelBusy, trio.RunFinishedError) as error:
            raise PeerGoneError(str(error) or "libp2p has ended") from None
        try:
            return gate.GateResponse.FromString(data)
        except DecodeError:
            raise RemoteError("INVALID_ANSWER", "the answer is no gate response") from None

    async def execute(
        self, node_id: str, addresses: Sequence[str], request: gate.ExecuteRequest, timeout_seconds: float
    ) -> tuple[gate.ExecuteResponse, gate.ExecutionRecord]:
        """Executes a block; the record's signature has been checked."""
        try:
            answer = await self._call(node_id, addresses, gate.GateRequest(execute=request), timeout_seconds)
            response = answer.execute
            record = gate.ExecutionRecord.FromString(response.record)
        except (FabricError, DecodeError) as error:
            code = error.code if isinstance(error, FabricError) else "INVALID_ANSWER"
            return gate.ExecuteResponse(), _own_record(node_id, request, code, str(error))
        genuine = (
            record.execution_id == request.execution_id
            and record.node_id == node_id
            and verify(node_id, _RECORD_DOMAIN + response.record, response.signature)
        )
        if not genuine:
            log.error(
                "an answer without a valid signature was refused", node_id=node_id, job_id=request.job_id
            )
            return response, _own_record(
                node_id, request, "SIGNATURE_INVALID", "the answer is not signed by the node that was asked"
            )
        return response, record

    async def release(self, node_id: str, addresses: Sequence[str], request: gate.ReleaseRequest) -> None:
        """Lets a node forget versions; a node that is gone has forgotten them."""
        try:
            await self._call(node_id, addresses, gate.GateRequest(release=request), _RELEASE_SECONDS)
        except (PeerGoneError, CallTimeoutError, FabricError) as error:
            log.info("release not heard", node_id=node_id, error=str(error)[:200])

    async def fetch(
        self, ref: state.ComponentRef, addresses: Sequence[str], fence: int, timeout_seconds: float
    ) -> tuple[bytes, int]:
        """Bytes of a final version, and how many of them are rows."""
        if self._host is None:
            raise PeerGoneError("libp2p is not running")
        host = self._host

        async def fetch() -> tuple[bytes, int]:
            _, data, rows_bytes = await pull(host, ref, addresses, fence=fence, limit=ref.bytes)
            return bytes(data), rows_bytes

        try:
            async with asyncio.timeout(timeout_seconds):
                return await self.thread.call(fetch)
        except TimeoutError:
            raise CallTimeoutError(f"no version within {timeout_seconds:g} s") from None
        except (PeerGone, RemoteError, trio.RunFinishedError) as error:
            raise PeerGoneError(str(error) or "libp2p has ended") from None

    async def compare(
        self,
        ref: state.ComponentRef,
        addresses: Sequence[str],
        factors: bytes,
        terms: int,
        fence: int,
        timeout_seconds: float,
    ) -> HolderOverlaps:
        """Overlaps of a final version with factors of an ideal state."""
        if self._host is None:
            raise PeerGoneError("libp2p is not running")
        host = self._host

        async def push() -> HolderOverlaps:
            found = await compare(host, ref, addresses, factors, terms=terms, fence=fence)
            return HolderOverlaps(found.rows, found.values, found.row_of_shot)

        try:
            async with asyncio.timeout(timeout_seconds):
                return await self.thread.call(push)
        except TimeoutError:
            raise CallTimeoutError(f"no overlaps within {timeout_seconds:g} s") from None
        except (PeerGone, RemoteError, trio.RunFinishedError) as error:
            raise PeerGoneError(str(error) or "libp2p has ended") from None


def _own_record(node_id: str, request: gate.ExecuteRequest, code: str, message: str) -> gate.ExecutionRecord:
    """Stands for an answer that cannot be used; never stored, it only says what to do next."""
    return gate.ExecutionRecord(
        execution_id=request.execution_id,
        job_id=request.job_id,
        node_id=node_id,
        outcome=gate.OUTCOME_INTERNAL,
        error=channel.Error(code=code, message=message[:300]),
    )
