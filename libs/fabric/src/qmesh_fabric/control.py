"""Protocol /qmesh/control/1.0.0: the node opens one long-lived stream to each registry; its end says that the node is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import control_pb2 as pb
from qmesh_fabric.errors import PeerGone, first_of
from qmesh_fabric.frames import FrameError, Framer, end_stream
from qmesh_fabric.host import Host
from qmesh_fabric.protocols import CONTROL

log = structlog.get_logger()

_FRAME = 1 << 20
_QUEUE = 64


async def follow(
    host: Host,
    registry: str,
    addresses: Sequence[str],
    on_command: Callable[[pb.ControlCommand], Awaitable[None]],
    reports: trio.MemoryReceiveChannel[pb.ControlReport],
) -> None:
    """Node's side: obeys commands and sends reports until the stream ends.

    Raises:
        PeerGone: the stream ended.
    """
    stream = await host.open_stream(registry, addresses, CONTROL)
    framer = Framer(stream, _FRAME)

    async def send() -> None:
        await framer.send(pb.ControlReport().SerializeToString())  # opens the stream at the registry
        async for report in reports:
            await framer.send(report.SerializeToString())

    why = ""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while True:
                await on_command(pb.ControlCommand.FromString(await framer.receive()))
    except* Exception as several:  # noqa: BLE001 - the library raises many kinds for one fact
        why = repr(first_of(several))  # raised here, beside a cancel, it would be wrapped in a group
    finally:
        await end_stream(stream)
    raise PeerGone(f"the control stream ended: {why}"[:200])


class ControlHub:
    """Registry's side: one stream for each node."""

    def __init__(
        self,
        on_open: Callable[[str], None],
        on_report: Callable[[str, pb.ControlReport], None],
        on_close: Callable[[str], None],
    ) -> None:
        """Takes what to call when a node comes, reports and goes."""
        self._on_open = on_open
        self._on_report = on_report
        self._on_close = on_close
        self._nodes: dict[str, trio.MemorySendChannel[pb.ControlCommand]] = {}

    def nodes(self) -> list[str]:
        """Nodes whose streams are open."""
        return list(self._nodes)

    def send(self, peer_id: str, command: pb.ControlCommand) -> bool:
        """Sends a command; False when the node is not there or does not read."""
        channel = self._nodes.get(peer_id)
        if channel is None:
            return False
        try:
            channel.send_nowait(command)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return False
        return True

    async def serve(self, peer_id: str, stream: Any) -> None:
        """Stream handler; a new stream of a node replaces its old one."""
        send, receive = trio.open_memory_channel[pb.ControlCommand](_QUEUE)
        self._nodes[peer_id] = send
        framer = Framer(stream, _FRAME)

        async def write() -> None:
            async for command in receive:
                await framer.send(command.SerializeToString())

        try:
            self._on_open(peer_id)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                while True:
                    self._on_report(peer_id, pb.ControlReport.FromString(await framer.receive()))
        except* (DecodeError, FrameError, ValueError) as several:
            log.warning("a control stream was reset", peer=peer_id, error=repr(first_of(several)))
        except* Exception as several:  # noqa: BLE001 - the node went away
            log.info("a node left", peer=peer_id, error=repr(first_of(several))[:160])
        finally:
            if self._nodes.get(peer_id) is send:
                del self._nodes[peer_id]
                self._on_close(peer_id)
            await end_stream(stream)
