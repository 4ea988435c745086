"""The registry's borders: real PostgreSQL, gRPC over a socket, nodes over libp2p."""

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import psycopg
import pytest
import trio
from psycopg_pool import AsyncConnectionPool

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh.registry.v1 import registry_pb2_grpc as stubs
from qmesh_fabric import adverts, guard
from qmesh_fabric.bridge import TrioThread
from qmesh_fabric.control import follow
from qmesh_fabric.enroll import enroll as ask_to_enroll
from qmesh_fabric.errors import ListenError, PeerGone
from qmesh_fabric.host import Host, open_host
from qmesh_fabric.identity import Identity
from qmesh_kit.errors import ServiceError
from qmesh_kit.rpc import RpcChannel, RpcServer
from qmesh_registry.adapters import fabric as module
from qmesh_registry.adapters.fabric import RegistryFabric
from qmesh_registry.adapters.grpc_server import RegistryServicer
from qmesh_registry.adapters.postgres import PostgresRegistry
from qmesh_registry.application import Registry
from qmesh_registry.ports import Enrolled

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # libp2p leaves them
READY = enroll.ENROLLMENT_STATUS_READY


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


async def until(condition: Callable[[], object]) -> None:
    """Returns when a condition holds, within thirty seconds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event to tell of it
            await asyncio.sleep(0.01)


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


async def test_standings_and_their_history_are_durable(lab: ModuleType, pool: AsyncConnectionPool) -> None:
    """The newest standing counts, every change has its entry in order, and other peers are left alone."""
    store = PostgresRegistry(pool)
    one = Enrolled(
        lab.peer("one"),
        "",
        "unknown",
        enroll.TRUST_TIER_PUBLIC_UNTRUSTED,
        enroll.ENROLLMENT_STATUS_PENDING_APPROVAL,
    )
    admitted = replace(one, owner="op", tier=enroll.TRUST_TIER_USER_CONTRIBUTED, status=READY)
    await store.set_standing(one, "enroll protocol", "", "4 data qubits")
    await store.set_standing(replace(one, peer_id=lab.peer("two")), "enroll protocol", "")
    await store.set_standing(admitted, "operator", "known")
    assert {s.peer_id: s.status for s in await store.standings()}[lab.peer("one")] == READY
    (found,) = await store.enrollments(lab.peer("one"))
    assert (found.owner, found.tier, found.capability_summary) == ("op", admitted.tier, "4 data qubits")
    assert [(h.status, h.actor, h.reason) for h in found.history] == [
        (one.status, "enroll protocol", ""),
        (READY, "operator", "known"),
    ]
    assert len(await store.enrollments("")) == 2


async def test_history_and_snapshots_are_append_only(lab: ModuleType, pool: AsyncConnectionPool) -> None:
    """The database refuses to change or delete what was entered, whoever asks."""
    store = PostgresRegistry(pool)
    await store.set_standing(
        Enrolled(lab.peer("one"), "", "o", enroll.TRUST_TIER_PLATFORM_MANAGED, READY), "a", ""
    )
    await store.pin(pb.Snapshot(snapshot_id="s", version=1))
    for statement in (
        "UPDATE registry.enrollment_events SET actor = 'b'",
        "DELETE FROM registry.enrollment_events",
        "UPDATE registry.snapshots SET version = 2",
        "DELETE FROM registry.snapshots",
    ):
        async with pool.connection() as connection:
            with pytest.raises(psycopg.Error):
                await connection.execute(statement.encode())


async def test_peers_snapshots_and_boots_come_back(lab: ModuleType, pool: AsyncConnectionPool) -> None:
    """Newest adverts, pinned bytes and ever higher boot numbers are what is read after a restart."""
    store = PostgresRegistry(pool)
    first, second = lab.advertisement("one"), lab.advertisement("one", counter=2)
    await store.save_peers({lab.peer("one"): first.SerializeToString()})
    await store.save_peers({lab.peer("one"): second.SerializeToString(), lab.peer("two"): b""})
    assert {p: data for p, data, *_ in await store.peers()} == {
        lab.peer("one"): second.SerializeToString(),
        lab.peer("two"): b"",
    }
    snapshot = pb.Snapshot(snapshot_id="s", version=3)
    await store.pin(snapshot)
    await store.pin(pb.Snapshot(snapshot_id="s", version=9))
    assert await store.pinned("s") == snapshot
    assert await store.pinned("t") is None
    boots = [await store.next_boot() for _ in range(3)]
    assert boots == sorted(set(boots))


async def test_a_database_that_is_away_is_a_service_error(pool: AsyncConnectionPool) -> None:
    """Callers get UNAVAILABLE, which background loops outlive, and no driver's exception."""
    store = PostgresRegistry(pool)
    await pool.close()
    with pytest.raises(ServiceError) as away:
        await store.standings()
    assert away.value.code == "UNAVAILABLE"


# -- a whole registry ------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A registry with its database, network and gRPC."""

    registry: Registry
    fabric: RegistryFabric
    stub: Any

    def address(self) -> str:
        """Where nodes dial."""
        assert self.fabric._host is not None
        return self.fabric._host.listen_addrs()[0]


@asynccontextmanager
async def _running(
    lab: ModuleType, pool: AsyncConnectionPool, folder: Path, *, unknown: int = 32
) -> AsyncIterator[Running]:
    registry = Registry(
        PostgresRegistry(pool), pool_token=lab.POOL_TOKEN, advert_period=2.0, unknown_peers=unknown
    )
    await registry.restore()
    identity = Identity(b"registry".ljust(32))
    fabric = RegistryFabric(registry, identity, "/ip4/127.0.0.1/tcp/0", (), 1.0)
    registry.nodes = fabric
    await fabric.start()
    server = RpcServer()
    stubs.add_RegistryServiceServicer_to_server(RegistryServicer(registry, fabric), server.grpc)
    address = server.listen(f"unix:{folder}/registry.sock")
    await server.start()
    channel = RpcChannel(address, default_timeout=5.0)
    loop = asyncio.create_task(registry.run())
    try:
        yield Running(registry, fabric, stubs.RegistryServiceStub(cast("Any", channel)))
    finally:
        loop.cancel()
        await channel.close()
        await server.stop(0.1)
        await fabric.thread.stop()


class Node:
    """A node reduced to enrollment, control and adverts, in a trio thread of its own."""

    def __init__(self, lab: ModuleType, name: str) -> None:
        self.lab, self.name = lab, name
        self.identity = Identity(name.encode().ljust(32))
        self.thread = TrioThread()
        self.host: Host | None = None
        self.commands: list[control.ControlCommand] = []
        self.ended = threading.Event()

    async def start(self) -> None:
        """Opens its host."""
        self.host = await self.thread.start(lambda: open_host(self.identity, [], pubsub="publish"))

    async def enroll(self, registry: Running, token: str = "") -> int:
        """Asks to be admitted; the status."""
        address = registry.address()
        result = await self.thread.call(
            ask_to_enroll,
            self.host,
            self.identity,
            address.rpartition("/p2p/")[2],
            [address],
            self.lab.hello(self.name),
            token,
        )
        status: int = result.status
        return status

    def follow(self, registry: Running) -> "asyncio.Task[None]":
        """Keeps the control stream open and notes commands."""
        address = registry.address()

        async def note(command: control.ControlCommand) -> None:
            self.commands.append(command)

        async def run() -> None:
            assert self.host is not None
            _, receive = trio.open_memory_channel[control.ControlReport](1)
            try:
                await follow(self.host, address.rpartition("/p2p/")[2], [address], note, receive)
            except PeerGone:
                self.ended.set()

        return asyncio.create_task(self.thread.call(run))

    async def publish(self, **named: Any) -> None:
        """Sends an advertisement."""
        await self.thread.call(adverts.publish, self.host, self.lab.advertisement(self.name, **named))

    async def publish_until(self, heard: Callable[[], object]) -> None:
        """Publishes with a rising counter until it is heard: a publisher first has to learn who subscribes."""
        counter = 0
        async with asyncio.timeout(10):
            while not heard():
                counter += 1
                await self.publish(counter=counter)
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ends it."""
        await self.thread.stop()


@pytest.fixture
async def nodes(lab: ModuleType) -> AsyncIterator[Callable[[str], Awaitable[Node]]]:
    """Makes nodes, and ends them."""
    made: list[Node] = []

    async def make(name: str) -> Node:
        made.append(Node(lab, name))
        await made[-1].start()
        return made[-1]

    yield make
    for node in made:
        await node.stop()


async def test_a_node_enrolls_advertises_and_is_planned_until_it_is_shut_out(
    lab: ModuleType, pool: AsyncConnectionPool, tmp_path: Path, nodes: Any
) -> None:
    """From pool token to snapshot, watch, directory and quarantine, over the real network and gRPC."""
    async with _running(lab, pool, tmp_path) as running:
        one = await nodes("one")
        assert await one.enroll(running, lab.POOL_TOKEN) == READY
        following = one.follow(running)
        await one.publish_until(lambda: running.registry.newest.nodes)
        answer = await running.stub.GetSnapshot(pb.GetSnapshotRequest())
        assert [node.node_id for node in answer.snapshot.nodes] == [lab.peer("one")]
        await until(lambda: any(c.directory.nodes for c in one.commands))
        fabric = await running.stub.GetFabric(pb.GetFabricRequest())
        assert fabric.running
        assert list(fabric.connected_peers) == [lab.peer("one")]
        assert {p.id for p in fabric.protocols} >= {"/qmesh/gate/1.0.0", "/qmesh/enroll/1.0.0"}
        act = pb.ActOnEnrollmentRequest(
            caller=caller.Caller(principal="op"),
            peer_id=lab.peer("one"),
            action=pb.ENROLLMENT_ACTION_QUARANTINE,
            reason="test",
        )
        done = await running.stub.ActOnEnrollment(act)
        assert done.enrollment.status == enroll.ENROLLMENT_STATUS_QUARANTINED
        assert [h.actor for h in done.enrollment.history] == ["pool token", "op"]
        await until(one.ended.is_set)
        assert one.commands[-1].trust.status == enroll.ENROLLMENT_STATUS_QUARANTINED
        await until(lambda: not running.registry.newest.nodes)
        with pytest.raises(PeerGone):
            await one.enroll(running, lab.POOL_TOKEN)
        await following


async def test_a_node_that_leaves_is_gone_at_once(
    lab: ModuleType, pool: AsyncConnectionPool, tmp_path: Path, nodes: Any
) -> None:
    """The end of the control stream takes a node out of the snapshot without waiting for missed adverts."""
    async with _running(lab, pool, tmp_path) as running:
        one, two = await nodes("one"), await nodes("two")
        tasks = []
        for node in (one, two):
            await node.enroll(running, lab.POOL_TOKEN)
            tasks.append(node.follow(running))
            await node.publish_until(
                lambda node=node: node.name in {n.name for n in running.registry.newest.nodes}
            )
        async with asyncio.timeout(5):
            await one.stop()
            await until(lambda: [n.name for n in running.registry.newest.nodes] == ["two"])
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_peer_that_waits_is_listed_and_may_be_approved(
    lab: ModuleType, pool: AsyncConnectionPool, tmp_path: Path, nodes: Any
) -> None:
    """Without a token: listed as public and untrusted with services hidden, no control stream; after approval ready."""
    async with _running(lab, pool, tmp_path) as running:
        two = await nodes("two")
        assert await two.enroll(running) == enroll.ENROLLMENT_STATUS_PENDING_APPROVAL
        await two.publish_until(running.registry.heard)
        listed = await running.stub.ListPeers(pb.ListPeersRequest())
        (seen,) = listed.peers
        assert (seen.tier, len(seen.services)) == (enroll.TRUST_TIER_PUBLIC_UNTRUSTED, 0)
        refused = two.follow(running)
        await until(two.ended.is_set)
        await refused
        await running.stub.ActOnEnrollment(
            pb.ActOnEnrollmentRequest(peer_id=lab.peer("two"), action=pb.ENROLLMENT_ACTION_APPROVE)
        )
        assert await two.enroll(running) == READY
        listed = await running.stub.ListEnrollments(pb.ListEnrollmentsRequest(peer_id=lab.peer("two")))
        assert listed.enrollments[0].published_service_count == 2


async def test_strangers_have_few_slots_and_lose_them(
    lab: ModuleType, pool: AsyncConnectionPool, tmp_path: Path, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one slot the second stranger is refused until the first, who does nothing more, is disconnected."""
    monkeypatch.setattr(module, "STRANGER_SECONDS", 2.0)
    async with _running(lab, pool, tmp_path, unknown=1) as running:
        first, second = await nodes("first"), await nodes("second")
        assert await first.enroll(running) == enroll.ENROLLMENT_STATUS_PENDING_APPROVAL
        with pytest.raises(PeerGone):
            await second.enroll(running)

        async def admitted() -> bool:
            try:
                return bool(await second.enroll(running, lab.POOL_TOKEN))
            except PeerGone:
                return False

        async with asyncio.timeout(10):
            while not await admitted():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)


async def test_after_a_restart_peers_are_known_and_old_counters_are_replays(
    lab: ModuleType, pool: AsyncConnectionPool, tmp_path: Path, nodes: Any
) -> None:
    """A new process knows enrollments, versions go up, and the advert that the old one took is not taken again."""
    one = await nodes("one")
    async with _running(lab, pool, tmp_path) as running:
        await one.enroll(running, lab.POOL_TOKEN)
        following = one.follow(running)
        await one.publish_until(lambda: running.registry.newest.nodes)
        await one.publish(counter=1000)
        await until(lambda: running.registry.heard() == {lab.peer("one"): (1, 1000)})
        await running.registry.save()
        pinned = running.registry.newest
        await running.stub.PinSnapshot(pb.PinSnapshotRequest(snapshot_id=pinned.snapshot_id))
    await following
    async with _running(lab, pool, tmp_path) as running:
        assert running.registry.newest.version > pinned.version
        answer = await running.stub.GetSnapshot(pb.GetSnapshotRequest(snapshot_id=pinned.snapshot_id))
        assert answer.snapshot.nodes == pinned.nodes
        assert await one.enroll(running) == READY
        again = one.follow(running)
        before = guard.dropped["advert: replay"]
        async with asyncio.timeout(10):
            while guard.dropped["advert: replay"] == before:
                await one.publish(counter=1000)
                await asyncio.sleep(0.05)
        assert not running.registry.newest.nodes
        await one.publish(counter=1001)
        await until(lambda: running.registry.newest.nodes)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)


async def test_grpc_refusals_have_their_codes(
    lab: ModuleType, pool: AsyncConnectionPool, tmp_path: Path
) -> None:
    """Unknown peers and snapshots are NOT_FOUND, nonsense is INVALID_ARGUMENT, enrolling for others is not offered."""
    async with _running(lab, pool, tmp_path) as running:
        stub = running.stub
        bad = pb.Observation(node_id="x", service_type="magic", fidelity=2.0)
        for code, call in (
            ("NOT_FOUND", stub.GetPeer(pb.GetPeerRequest(peer_id="x"))),
            ("NOT_FOUND", stub.GetSnapshot(pb.GetSnapshotRequest(snapshot_id="x"))),
            ("NOT_FOUND", stub.PinSnapshot(pb.PinSnapshotRequest(snapshot_id="x"))),
            ("INVALID_ARGUMENT", stub.ActOnEnrollment(pb.ActOnEnrollmentRequest(peer_id="x"))),
            ("INVALID_ARGUMENT", stub.ReportObservations(pb.ReportObservationsRequest(observations=[bad]))),
            ("UNIMPLEMENTED", stub.EnrollPeer(pb.EnrollPeerRequest(peer_id="x"))),
        ):
            with pytest.raises(ServiceError) as refused:
                await call
            assert refused.value.code == code
        watch = stub.WatchSnapshots(pb.WatchSnapshotsRequest(), timeout=2)
        async for first in watch:
            assert first.snapshot.version == running.registry.newest.version
            watch.cancel()
            break


async def test_a_taken_port_keeps_the_registry_from_starting(lab: ModuleType) -> None:
    """A fabric port in use is a ListenError that names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        fabric = RegistryFabric(lab.registry(), Identity(b"registry".ljust(32)), listen, (), 1.0)
        with pytest.raises(ListenError, match=listen):
            await fabric.start()
