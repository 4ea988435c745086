"""The registry on the network: adverts, enrollment, control; libp2p in a trio thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import trio

from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_fabric import protocols
from qmesh_fabric.adverts import AdvertInbox
from qmesh_fabric.bridge import TrioThread
from qmesh_fabric.control import ControlHub
from qmesh_fabric.enroll import serve_enroll
from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity
from qmesh_registry.application import Registry
from qmesh_registry.domain.peers import objection_to

STRANGER_SECONDS = 30.0
_DECIDE_SECONDS = 8.0
_FAREWELL_SECONDS = 0.1
_MOST_REASON = 200


class RegistryFabric:
    """The registry's libp2p host."""

    def __init__(
        self,
        registry: Registry,
        identity: Identity,
        listen: str,
        advertised: Sequence[str],
        probe_period: float,
    ) -> None:
        """Takes where to listen; `start` begins."""
        self._registry = registry
        self._identity = identity
        self._listen = listen
        self._advertised = list(advertised)
        self._probe_period = probe_period
        self.thread = TrioThread()
        self._host: Host | None = None
        self._hub: ControlHub | None = None
        self._nursery: trio.Nursery | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Starts libp2p.

        Raises:
            qmesh_fabric.errors.ListenError: the port is taken.
        """
        self._loop = asyncio.get_running_loop()
        await self.thread.start(self._app)

    @asynccontextmanager
    async def _app(self) -> AsyncIterator[Host]:
        registry, post = self._registry, self.thread.post
        async with (
            open_host(self._identity, [self._listen], admits=self._admits, pubsub="sink") as host,
            trio.open_nursery() as nursery,
        ):
            self._host, self._nursery = host, nursery
            inbox = AdvertInbox(host, registry.may_advertise, objects=objection_to, heard=registry.heard())
            self._hub = ControlHub(
                lambda peer: post(registry.joined, peer),
                lambda peer, report: post(registry.reported, peer, report),
                lambda peer: post(registry.left, peer),
            )
            host.serve(protocols.ENROLL, serve_enroll(host, self._decide))
            host.serve(protocols.CONTROL, self._hub.serve, admits=registry.ready)
            await nursery.start(inbox.run)

            async def forward() -> None:
                async for batch in inbox.batches():
                    for message in batch:
                        post(registry.advertised, message)

            nursery.start_soon(forward)
            nursery.start_soon(self._end_strangers, host)
            yield host
            self._nursery = None
            nursery.cancel_scope.cancel()

    def _admits(self, peer_id: str) -> bool:
        return self._registry.admits(peer_id, self._host.connected() if self._host is not None else ())

    async def _end_strangers(self, host: Host) -> None:
        """Ends connections of peers that are not admitted after a while: their slots are few."""
        since: dict[str, float] = {}
        while True:
            await trio.sleep(STRANGER_SECONDS / 4)
            now = trio.current_time()
            strangers = [peer for peer in host.connected() if not self._registry.ready(peer)]
            since = {peer: since.get(peer, now) for peer in strangers}
            for peer, begun in since.items():
                if now - begun >= STRANGER_SECONDS:
                    await host.disconnect(peer)

    async def _decide(self, hello: enroll.EnrollHello, token: str) -> enroll.EnrollResult:
        """Crosses to asyncio, where the database is."""
        return await self._cross(lambda: self._registry.decide(hello, token))

    async def _cross[T](self, make: Callable[[], Awaitable[T]]) -> T:
        assert self._loop is not None  # noqa: S101 - set by start
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        result: list[T | BaseException] = []

        async def work() -> None:
            try:
                async with asyncio.timeout(_DECIDE_SECONDS):
                    result.append(await make())
            except Exception as error:  # noqa: BLE001 - it crosses to trio
                result.append(error)
            token.run_sync_soon(done.set)

        asyncio.run_coroutine_threadsafe(work(), self._loop)
        with trio.fail_after(_DECIDE_SECONDS + 1):
            await done.wait()
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    def send_directory(self, entries: Sequence[tuple[str, Sequence[str], str]], version: int) -> None:
        """Sends every node the directory, and whom to probe: each pair is probed by its lesser id."""
        directory = control.ControlCommand(
            directory=control.PeerDirectory(
                version=version,
                nodes=[control.DirectoryEntry(peer_id=p, addresses=a, name=n) for p, a, n in entries],
            )
        )

        def send() -> None:
            if self._hub is None:
                return
            peers = [peer for peer, _, _ in entries]
            for node in self._hub.nodes():
                self._hub.send(node, directory)
                probes = control.ProbeList(
                    peer_ids=[peer for peer in peers if node < peer], period_seconds=self._probe_period
                )
                self._hub.send(node, control.ControlCommand(probes=probes))

        self._soon(send)

    def shut_out(self, peer_id: str, status: enroll.EnrollmentStatus.ValueType, reason: str) -> None:
        """Tells a peer its new status, and ends its connections."""

        async def end(host: Host) -> None:
            if self._hub is not None:
                change = control.TrustChange(status=status, reason=reason[:_MOST_REASON])
                self._hub.send(peer_id, control.ControlCommand(trust=change))
            await trio.sleep(_FAREWELL_SECONDS)
            await host.disconnect(peer_id)

        def begin() -> None:
            if self._nursery is not None and self._host is not None:
                self._nursery.start_soon(end, self._host)

        self._soon(begin)

    def _soon(self, function: Callable[[], object]) -> None:
        try:
            self.thread.run_soon(function)
        except trio.RunFinishedError:
            return  # the process is on its way out

    async def describe(self) -> pb.GetFabricResponse:
        """The live host."""
        host = self._host
        if host is None:
            return pb.GetFabricResponse(running=False)
        connected = await self.thread.call(self._connected)
        return pb.GetFabricResponse(
            running=True,
            driver="py-libp2p",
            driver_version=version("libp2p"),
            peer_id=host.peer_id,
            listen_addrs=host.listen_addrs(),
            advertised_addrs=self._advertised or host.listen_addrs(),
            connected_peers=connected,
            topics=[protocols.ADVERTS],
            protocols=[
                pb.ProtocolDescriptor(name=name, version="1.0.0", id=stream, description=text)
                for stream, (name, text) in protocols.DESCRIPTIONS.items()
            ],
        )

    async def _connected(self) -> list[str]:
        return sorted(self._host.connected()) if self._host is not None else []

    def port(self) -> str:
        """The port that is bound."""
        return self._host.listen_addrs()[0].split("/")[4] if self._host is not None else ""
