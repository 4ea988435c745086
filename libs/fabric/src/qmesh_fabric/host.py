"""A libp2p host of the mesh: TCP, Noise, Yamux, nothing else; a gate on peer ids; bounded everywhere."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import structlog
import trio
from multiaddr import Multiaddr

from qmesh_fabric import guard
from qmesh_fabric.errors import ListenError, PeerGone
from qmesh_fabric.identity import Identity

guard.apply()

from libp2p import new_host  # noqa: E402 - the guard comes first
from libp2p.abc import INotifee  # noqa: E402
from libp2p.crypto.ed25519 import create_new_key_pair  # noqa: E402
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key  # noqa: E402
from libp2p.custom_types import TProtocol  # noqa: E402
from libp2p.network.config import ConnectionConfig  # noqa: E402
from libp2p.peer.id import ID  # noqa: E402
from libp2p.peer.peerinfo import PeerInfo  # noqa: E402
from libp2p.peer.peerstore import PeerStoreError  # noqa: E402
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub  # noqa: E402
from libp2p.pubsub.pubsub import Pubsub  # noqa: E402
from libp2p.rcmgr import ResourceLimits, ResourceManager  # noqa: E402
from libp2p.rcmgr.connection_limits import ConnectionLimits  # noqa: E402
from libp2p.security.exceptions import HandshakeFailure  # noqa: E402
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE  # noqa: E402
from libp2p.security.noise.transport import Transport as NoiseTransport  # noqa: E402
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX  # noqa: E402
from libp2p.stream_muxer.yamux.yamux import Yamux  # noqa: E402
from libp2p.tools.anyio_service import background_trio_service  # noqa: E402

log = structlog.get_logger()

Admission = Callable[[str], bool]
Handler = Callable[[str, Any], Awaitable[None]]

_CONNECTIONS = 2000
_PER_PEER = 4
_DIAL_SECONDS = 5.0
_LEAVE_SECONDS = 2.0
_HEALTH_SECONDS = 5.0
_LAST_PORT = 65535


class _GatedNoise(NoiseTransport):
    """Noise whose handshake ends for peers that are not admitted, in both directions."""

    def __init__(self, key_pair: Any, admits: Admission) -> None:
        super().__init__(key_pair, noise_privkey=create_noise_key().private_key)
        self._admits = admits

    async def _check(self, connection: Any) -> Any:
        peer = str(connection.get_remote_peer())
        if self._admits(peer):
            return connection
        guard.dropped["peer not admitted"] += 1
        await connection.close()
        raise HandshakeFailure(f"{peer} is not admitted")

    async def secure_inbound(self, conn: Any) -> Any:
        return await self._check(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: Any, peer_id: Any) -> Any:
        return await self._check(await super().secure_outbound(conn, peer_id))


class _Watcher(INotifee):
    """Tells the host when the last connection of a peer is gone."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def connected(self, _network: Any, _conn: Any) -> None:
        return

    async def disconnected(self, _network: Any, conn: Any) -> None:
        self._host.note_disconnected(str(conn.muxed_conn.peer_id))

    async def opened_stream(self, _network: Any, _stream: Any) -> None:
        return

    async def closed_stream(self, _network: Any, _stream: Any) -> None:
        return

    async def listen(self, _network: Any, _multiaddr: Any) -> None:
        return

    async def listen_close(self, _network: Any, _multiaddr: Any) -> None:
        return


class Host:
    """A running host; made by `open_host`."""

    def __init__(self, inner: Any, pubsub: Any) -> None:
        """Takes the library's host, and its pubsub where there is one."""
        self.inner = inner
        self.pubsub = pubsub
        self.peer_id = str(inner.get_id())
        self._on_gone: list[Callable[[str], None]] = []
        self._dialling: dict[str, trio.Lock] = {}

    def listen_addrs(self) -> list[str]:
        """Addresses that are really bound, with the peer id."""
        found = []
        for address in self.inner.get_transport_addrs():
            text = str(address)
            found.append(text if "/p2p/" in text else f"{text}/p2p/{self.peer_id}")
        return found

    async def connect(
        self, peer_id: str, addresses: Sequence[str], timeout_seconds: float = _DIAL_SECONDS
    ) -> None:
        """Connects, resolving names ourselves: the library asks DNS servers only, and no hosts file.

        Raises:
            PeerGone: no address answered as that peer.
        """
        lock = self._dialling.setdefault(peer_id, trio.Lock())
        try:
            with trio.fail_after(timeout_seconds):
                async with lock:
                    if peer_id not in self.connected():
                        await self._dial(peer_id, addresses, timeout_seconds)
        except trio.TooSlowError:
            raise PeerGone(f"{peer_id} did not answer within {timeout_seconds:g} s") from None
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._dialling.pop(peer_id, None)

    async def _dial(self, peer_id: str, addresses: Sequence[str], timeout_seconds: float) -> None:
        """One address after the other, and nothing from the peerstore.

        The library dials a single address of each transport, the oldest that it remembers: a peer that came back on
        another port would not be found before two minutes (G18).
        """
        targets = [a for text in addresses for a in await resolve(text)]
        why = "none of its addresses can be dialled"
        for target in targets:
            with trio.move_on_after(timeout_seconds / len(targets)) as limit:
                try:
                    peer = ID.from_string(peer_id)
                    self._forget_addresses(peer)
                    await self.inner.connect(PeerInfo(peer, [Multiaddr(target)]))
                except Exception as error:  # noqa: BLE001 - the library raises many kinds for one fact
                    why = str(error)[:160] or type(error).__name__
                else:
                    return
            if limit.cancelled_caught:
                why = f"{target} did not answer"
        raise PeerGone(f"{peer_id} cannot be reached: {why}")

    def _forget_addresses(self, peer: ID) -> None:
        try:
            self.inner.get_peerstore().clear_addrs(peer)
        except PeerStoreError:
            return  # it was never known

    async def disconnect(self, peer_id: str) -> None:
        """Ends all connections to a peer."""
        try:
            with trio.move_on_after(_DIAL_SECONDS):
                await self.inner.disconnect(ID.from_string(peer_id))
        except Exception as error:  # noqa: BLE001 - it is gone either way
            log.debug("disconnect", peer=peer_id, error=repr(error))

    async def leave(self) -> None:
        """Stops listening and ends all connections, side by side.

        The library would leave the connections to the collector, and its listeners, which it keeps in system tasks,
        open until the whole trio run ends (G17).
        """
        with trio.CancelScope(shield=True), trio.move_on_after(_LEAVE_SECONDS):
            async with trio.open_nursery() as nursery:
                for listener in list(self.inner.get_network().listeners.values()):
                    nursery.start_soon(_close_listener, listener)
                for peer in self.connected():
                    nursery.start_soon(self.disconnect, peer)

    def connected(self) -> list[str]:
        """Peers connected now."""
        return [str(peer) for peer in self.inner.get_connected_peers()]

    async def open_stream(
        self, peer_id: str, addresses: Sequence[str], protocol: str, timeout_seconds: float = _DIAL_SECONDS
    ) -> Any:
        """A new stream, connecting first where needed.

        Raises:
            PeerGone: the peer cannot be reached or does not speak the protocol.
        """
        await self.connect(peer_id, addresses, timeout_seconds)
        try:
            with trio.fail_after(timeout_seconds):
                return await self.inner.new_stream(ID.from_string(peer_id), [protocol])
        except trio.TooSlowError:
            raise PeerGone(f"{peer_id} opened no {protocol} within {timeout_seconds:g} s") from None
        except Exception as error:  # noqa: BLE001 - as in connect
            raise PeerGone(
                f"{peer_id} opened no {protocol}: {str(error)[:160] or type(error).__name__}"
            ) from None

    def serve(self, protocol: str, handler: Handler, admits: Admission | None = None) -> None:
        """Serves a protocol; `admits` is a gate of its own beside the connection's."""

        async def on_stream(stream: Any) -> None:
            peer = str(stream.muxed_conn.peer_id)
            if admits is not None and not admits(peer):
                guard.dropped["protocol not admitted"] += 1
                await stream.reset()
                return
            await handler(peer, stream)

        self.inner.set_stream_handler(protocol, on_stream)

    def on_gone(self, callback: Callable[[str], None]) -> None:
        """Calls back with the peer id when the last connection of a peer ends."""
        self._on_gone.append(callback)

    def note_disconnected(self, peer_id: str) -> None:
        """Called by the network's notifee."""
        if peer_id in self.connected():
            return
        for callback in self._on_gone:
            callback(peer_id)

    def statistics(self) -> dict[str, int]:
        """Counters of the guard, and connections."""
        return {"connected": len(self.connected())} | dict(guard.dropped)


async def _close_listener(listener: Any) -> None:
    try:
        await listener.close()
    except Exception as error:  # noqa: BLE001 - it is closed either way
        log.debug("close of a listener", error=repr(error))


async def resolve(address: str) -> list[str]:
    """An address with its name resolved: `/dns4/...` becomes `/ip4/...`; others stay."""
    parts = address.split("/")
    if len(parts) > 2 and parts[1] in {"dns", "dns4"}:  # noqa: PLR2004 - /dns4/name
        try:
            found = await trio.socket.getaddrinfo(parts[2], None, family=trio.socket.AF_INET)
        except OSError:
            return []
        names = dict.fromkeys(str(entry[4][0]) for entry in found)
        return ["/".join(["", "ip4", ip, *parts[3:]]) for ip in names]
    return [address]


def _router(kind: Literal["publish", "sink"]) -> Any:
    made = guard.SinkGossipSub if kind == "sink" else GossipSub
    return made(
        protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11],
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=1,
        adaptive_gossip_enabled=False,
        spam_protection_enabled=False,
        eclipse_protection_enabled=False,
    )


def _everyone(_peer_id: str) -> bool:
    return True


@asynccontextmanager
async def open_host(
    identity: Identity,
    listen: Iterable[str],
    *,
    admits: Admission = _everyone,
    pubsub: Literal["publish", "sink"] | None = None,
) -> AsyncIterator[Host]:
    """A running host.

    Args:
        identity: key of the host.
        listen: multiaddrs; port 0 is chosen by the system.
        admits: gate on peer ids after the handshake, in both directions.
        pubsub: `publish` for nodes, `sink` for coordinators, None for neither.

    Raises:
        ListenError: an address is taken.
    """
    wanted = list(listen)
    key_pair = create_new_key_pair(identity.seed)
    host = new_host(
        key_pair=key_pair,
        sec_opt={NOISE: _GatedNoise(key_pair, admits)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        connection_config=ConnectionConfig(
            max_connections=_CONNECTIONS,
            high_watermark=_CONNECTIONS - 1,
            min_connections=0,
            low_watermark=0,
            inbound_upgrade_timeout=3,
            enable_health_monitoring=True,
            health_initial_delay=_HEALTH_SECONDS,  # G13: a frozen peer is never noticed without
            health_check_interval=_HEALTH_SECONDS,
            health_warmup_window=_HEALTH_SECONDS,
            ping_timeout=_HEALTH_SECONDS,
            abort_connection_on_ping_failure=True,
        ),
        resource_manager=ResourceManager(
            limits=ResourceLimits(max_connections=_CONNECTIONS),
            enable_circuit_breaker=False,
            connection_limits=ConnectionLimits(
                max_established_inbound=_CONNECTIONS,
                max_established_outbound=_CONNECTIONS,
                max_established_per_peer=_PER_PEER,
                max_established_total=_CONNECTIONS,
            ),
        ),
    )
    async with AsyncExitStack() as stack:
        for text in wanted:
            await _probe(text)
        await stack.enter_async_context(host.run([Multiaddr(text) for text in wanted]))
        if wanted and not host.get_transport_addrs():
            raise ListenError(f"cannot listen on {', '.join(wanted)}")
        messages = None
        if pubsub is not None:
            router = _router(pubsub)
            messages = Pubsub(host, router, strict_signing=True, max_inbound_rpc_size=256 * 1024)
            await stack.enter_async_context(background_trio_service(messages))
            await stack.enter_async_context(background_trio_service(router))
            await messages.wait_until_ready()
        made = Host(host, messages)
        host.get_network().register_notifee(_Watcher(made))
        try:
            yield made
        finally:
            await made.leave()


async def _probe(address: str) -> None:
    """Says why an address cannot be listened on; the library only logs it."""
    parts = address.split("/")
    match parts:
        case ["", "ip4", host, "tcp", number, *_] if number.isdecimal() and int(number) <= _LAST_PORT:
            port = int(number)
        case _:
            raise ListenError(f"{address} should be like /ip4/127.0.0.1/tcp/0")
    try:
        for listener in await trio.open_tcp_listeners(port, host=host):
            await listener.aclose()
    except OSError as error:
        why = "another process has this port" if error.errno == errno.EADDRINUSE else error.strerror or error
        raise ListenError(f"cannot listen on {address}: {why}") from None
