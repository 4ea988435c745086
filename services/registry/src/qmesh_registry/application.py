"""The registry's use cases: peers come, advertise, are admitted, leave; planners get snapshots."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Collection

import structlog

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_kit.documents import PEER_CAPABILITIES, TOPOLOGY_PROJECTIONS, Entry
from qmesh_kit.errors import ServiceError
from qmesh_model.gates import SERVICE_TYPES
from qmesh_registry.domain.peers import (
    MISSED,
    PENDING,
    READY,
    SHUT_OUT,
    PeerRecord,
    links_of,
    peer_message,
    snapshot_of,
)
from qmesh_registry.domain.projections import capability, topology
from qmesh_registry.ports import Enrolled, Nodes, RegistryStore

log = structlog.get_logger()

MIN_INTERVAL = 1.0
_GATHER = 0.02  # what comes together becomes one snapshot
_RECENT = 64
_PER_BOOT = 1_000_000
_REMEMBERED = 30.0  # seconds before the newest sign of life of any peer: who was there then is expected back
_PENDING_PER_SLOT = 8
_MOST_REASON = 500

_ACTIONS = {
    pb.ENROLLMENT_ACTION_APPROVE: (READY, enroll.TRUST_TIER_USER_CONTRIBUTED),
    pb.ENROLLMENT_ACTION_REJECT: (enroll.ENROLLMENT_STATUS_REJECTED, enroll.TRUST_TIER_PUBLIC_UNTRUSTED),
    pb.ENROLLMENT_ACTION_QUARANTINE: (enroll.ENROLLMENT_STATUS_QUARANTINED, enroll.TRUST_TIER_QUARANTINED),
}


class Registry:
    """The mesh's view of its nodes."""

    def __init__(
        self,
        store: RegistryStore,
        *,
        pool_token: str | None,
        advert_period: float,
        unknown_peers: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes the store; `restore` and `run` follow."""
        self._store = store
        self._pool_token = pool_token
        self._stale_after = MISSED * advert_period
        self._unknown = unknown_peers
        self._clock = clock
        self._records: dict[str, PeerRecord] = {}
        self._snapshot = pb.Snapshot()
        self._recent: OrderedDict[str, pb.Snapshot] = OrderedDict()
        self._changed = asyncio.Condition()
        self._dirty = asyncio.Event()
        self._urgent = False
        self._version = 0
        self._made_at = -MIN_INTERVAL
        self._unsaved: dict[str, bytes] = {}
        self._expected: set[str] = set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._projected: set[str] = set()  # peers whose document is to be made anew
        self._topologies: deque[pb.Snapshot] = deque(maxlen=TOPOLOGY_PROJECTIONS.keep)
        self.nodes: Nodes | None = None

    async def restore(self) -> None:
        """Takes up what was known before a restart; peers count as gone until they are heard.

        Watchers get nothing until those that were there shortly before are back, or had the time in which a peer becomes stale:
        a planner goes on with what it knows, instead of planning for a mesh without nodes.
        """
        for standing in await self._store.standings():
            record = self._record(standing.peer_id)
            record.status, record.tier = standing.status, standing.tier
            record.owner, record.tenant_id = standing.owner, standing.tenant_id
        for peer_id, data, first, last in await self._store.peers():
            record = self._record(peer_id)
            record.advertisement = advert.Advertisement.FromString(data)
            record.name = record.advertisement.name
            record.first_seen, record.last_seen, record.last_advert = first, last, last
        last_sign = max((record.last_seen for record in self._records.values()), default=0.0)
        self._expected = {
            peer_id
            for peer_id, record in self._records.items()
            if record.status == READY
            and record.advertisement is not None
            and record.last_seen >= last_sign - _REMEMBERED
        }
        if self._expected:
            self._settled.clear()
        self._projected = set(self._records)  # what a document store missed or lost is made good
        self._version = _PER_BOOT * await self._store.next_boot()
        await self._publish()

    def _record(self, peer_id: str) -> PeerRecord:
        if peer_id not in self._records:
            self._records[peer_id] = PeerRecord(peer_id, first_seen=self._clock())
        return self._records[peer_id]

    # -- what comes from the network ---------------------------------------------------------------------------

    def admits(self, peer_id: str, connected: Collection[str]) -> bool:
        """Gate of connections: enrolled peers, and a few others at a time, for enrollment and adverts only.

        Args:
            peer_id: who asks.
            connected: who is connected now.
        """
        record = self._records.get(peer_id)
        if record is not None and (record.status == READY or record.status in SHUT_OUT):
            return record.status == READY
        return sum(1 for peer in connected if peer != peer_id and not self.ready(peer)) < self._unknown

    def ready(self, peer_id: str) -> bool:
        """Whether a peer is admitted."""
        record = self._records.get(peer_id)
        return record is not None and record.status == READY

    def may_advertise(self, peer_id: str) -> bool:
        """Whether adverts of a peer are taken: it is admitted, or has asked for it and is not shut out."""
        record = self._records.get(peer_id)
        return record is not None and record.status not in SHUT_OUT

    def heard(self) -> dict[str, tuple[int, int]]:
        """(epoch, counter) of the newest advertisement of each peer."""
        return {
            peer_id: (record.advertisement.epoch, record.advertisement.counter)
            for peer_id, record in self._records.items()
            if record.advertisement is not None
        }

    async def decide(self, hello: enroll.EnrollHello, pool_token: str) -> enroll.EnrollResult:
        """Decides about a peer that has proven its key; what is decided is durable before it is said.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED, too many peers wait for approval; UNAVAILABLE, the database is away.
        """
        record = self._records.get(hello.peer_id) or PeerRecord(hello.peer_id, first_seen=self._clock())
        trusted = self._pool_token is not None and hmac.compare_digest(
            pool_token.encode(), self._pool_token.encode()
        )
        is_new = hello.peer_id not in self._records
        if record.status == PENDING and (trusted or is_new):
            if is_new and not trusted and self._pending() >= _PENDING_PER_SLOT * self._unknown:
                raise ServiceError("RESOURCE_EXHAUSTED", "too many peers wait for approval")
            standing = Enrolled(
                record.peer_id,
                record.tenant_id,
                "platform" if trusted else "unknown",
                enroll.TRUST_TIER_PLATFORM_MANAGED if trusted else record.tier,
                READY if trusted else PENDING,
            )
            actor = "pool token" if trusted else "enroll protocol"
            await self._store.set_standing(standing, actor, "", hello.capability_summary)
            record = self._record(hello.peer_id)
            record.status, record.tier, record.owner = standing.status, standing.tier, standing.owner
            self._projected.add(hello.peer_id)
        record.name = hello.name
        record.last_seen = self._clock()
        return enroll.EnrollResult(status=record.status, tier=record.tier)

    def _pending(self) -> int:
        return sum(1 for record in self._records.values() if record.status == PENDING)

    def advertised(self, message: advert.Advertisement) -> None:
        """Takes a valid advertisement in."""
        record = self._records.get(message.node_id)
        if record is None or record.status in SHUT_OUT:
            return  # it was shut out while this was on the way
        now = self._clock()
        was = record.health(now, self._stale_after)
        old = record.advertisement
        record.rejoined = record.rejoined or (old is not None and message.epoch > old.epoch)
        record.advertisement = message
        record.name = message.name
        record.last_seen = record.last_advert = now
        self._unsaved[message.node_id] = message.SerializeToString()
        self._projected.add(message.node_id)
        self._touch(
            urgent=was != record.health(now, self._stale_after) or old is None or old.epoch != message.epoch
        )

    def joined(self, peer_id: str) -> None:
        """A node opened its control stream."""
        record = self._record(peer_id)
        record.connected = True
        record.last_seen = self._clock()
        self._touch(urgent=True)
        self._tell()

    def left(self, peer_id: str) -> None:
        """A node's control stream ended: it is gone, at once."""
        record = self._records.get(peer_id)
        if record is not None:
            record.connected = False
            self._touch(urgent=True)
            self._tell()

    def reported(self, peer_id: str, _report: control.ControlReport) -> None:
        """A node reported; round trips reach planners with its next advertisement."""
        record = self._records.get(peer_id)
        if record is not None:
            record.last_seen = self._clock()

    def observe(self, observations: list[pb.Observation]) -> None:
        """Takes in what executions showed.

        Raises:
            ServiceError: INVALID_ARGUMENT, a fidelity is no fraction or a service is unknown; nothing was taken in.
        """
        for observation in observations:
            if not 0.0 <= observation.fidelity <= 1.0 or observation.service_type not in SERVICE_TYPES:
                raise ServiceError("INVALID_ARGUMENT", "an observation is out of range")
        for observation in observations:
            record = self._records.get(observation.node_id)
            if record is not None:
                record.observed.take(observation)
        self._touch(urgent=False)

    def _tell(self) -> None:
        if self.nodes is not None:
            live = [
                (r.peer_id, list(r.advertisement.listen_addrs), r.name)
                for r in self._records.values()
                if r.status == READY and r.connected and r.advertisement is not None
            ]
            self.nodes.send_directory(sorted(live), self._version)

    # -- snapshots ---------------------------------------------------------------------------------------------

    def _touch(self, *, urgent: bool) -> None:
        self._urgent = self._urgent or urgent
        self._dirty.set()

    async def run(self) -> None:
        """Makes a new snapshot when something changed: comings and goings at once, but at most one a second."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            try:
                async with asyncio.timeout(self._stale_after / 6):
                    await self._dirty.wait()
            except TimeoutError:
                pass  # adverts may have become stale without any event
            wait = _GATHER if self._urgent else MIN_INTERVAL
            await asyncio.sleep(max(wait, self._made_at + MIN_INTERVAL - loop.time()))
            self._dirty.clear()
            self._urgent = False
            await self._publish()
            here = {node.node_id for node in self._snapshot.nodes}
            if self._expected <= here or loop.time() - begun >= self._stale_after:
                self._settled.set()

    async def _publish(self) -> None:
        made = snapshot_of(self._records, self._clock(), self._stale_after)
        if made.snapshot_id == self._snapshot.snapshot_id:
            return
        before = {node.node_id for node in self._snapshot.nodes}
        self._version += 1
        self._made_at = asyncio.get_running_loop().time()
        made.version = self._version
        self._snapshot = made
        self._recent[made.snapshot_id] = made
        self._topologies.append(made)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        if before != {node.node_id for node in made.nodes}:
            log.info("nodes", live=[node.name for node in made.nodes], version=made.version)
            self._tell()
        async with self._changed:
            self._changed.notify_all()

    async def save(self) -> None:
        """Stores peers as last seen, with the documents of what has changed."""
        unsaved, self._unsaved = self._unsaved, {}
        projected, self._projected = self._projected, set()
        made = list(self._topologies)
        self._topologies.clear()
        entries = [
            Entry(PEER_CAPABILITIES, peer_id, capability(self._records[peer_id]))
            for peer_id in sorted(projected)
        ]
        entries += [
            Entry(TOPOLOGY_PROJECTIONS, str(snapshot.version), topology(snapshot)) for snapshot in made
        ]
        if not unsaved and not entries:
            return
        try:
            await self._store.save_peers(unsaved, entries)
        except ServiceError:
            self._unsaved = unsaved | self._unsaved  # the next attempt has them, too
            self._projected |= projected
            self._topologies.extendleft(reversed(made))
            raise

    @property
    def newest(self) -> pb.Snapshot:
        """The newest snapshot."""
        return self._snapshot

    async def snapshot(self, snapshot_id: str) -> pb.Snapshot:
        """A snapshot by id; the newest without one."""
        if not snapshot_id:
            return self._snapshot
        found = self._recent.get(snapshot_id) or await self._store.pinned(snapshot_id)
        if found is None:
            raise ServiceError("NOT_FOUND", f"there is no snapshot {snapshot_id[:64]}")
        return found

    async def watch(self) -> AsyncGenerator[pb.Snapshot]:
        """The newest snapshot now, or soon after a restart, and after every change."""
        await self._settled.wait()
        seen: pb.Snapshot | None = None
        while True:
            async with self._changed:
                while self._snapshot is seen:
                    await self._changed.wait()
                seen = self._snapshot
            yield seen

    async def pin(self, snapshot_id: str) -> None:
        """Stores a snapshot that a plan cites."""
        await self._store.pin(await self.snapshot(snapshot_id))

    # -- operators ---------------------------------------------------------------------------------------------

    def peers(self, *, include_stale: bool) -> tuple[list[pb.Peer], list[pb.Link]]:
        """Peers and links."""
        now = self._clock()
        found = [peer_message(r, now, self._stale_after) for _, r in sorted(self._records.items())]
        return [p for p in found if include_stale or not p.stale], links_of(self._records)

    def peer(self, peer_id: str) -> pb.Peer:
        """One peer."""
        record = self._records.get(peer_id)
        if record is None:
            raise ServiceError("NOT_FOUND", "there is no such peer")
        return peer_message(record, self._clock(), self._stale_after)

    async def act(self, request: pb.ActOnEnrollmentRequest) -> pb.Enrollment:
        """Approves, rejects or quarantines; durable first, then effective at once."""
        if request.action not in _ACTIONS:
            raise ServiceError("INVALID_ARGUMENT", "the action should be approve, reject or quarantine")
        if not request.reason.isprintable() or len(request.reason) > _MOST_REASON:
            raise ServiceError(
                "INVALID_ARGUMENT", f"the reason should be at most {_MOST_REASON} printable characters"
            )
        record = self._records.get(request.peer_id)
        if record is None:
            raise ServiceError("NOT_FOUND", "there is no such peer")
        status, tier = _ACTIONS[request.action]
        if status == record.status == READY:
            tier = record.tier  # it is approved already
        owner = record.owner or request.caller.principal
        standing = Enrolled(record.peer_id, record.tenant_id, owner, tier, status)
        await self._store.set_standing(standing, request.caller.principal, request.reason)
        record.status, record.tier, record.owner = status, tier, owner
        self._projected.add(record.peer_id)
        if status in SHUT_OUT and self.nodes is not None:
            self.nodes.shut_out(record.peer_id, status, request.reason)
        self._touch(urgent=True)
        return (await self.enrollments(request.peer_id))[0]

    async def enrollments(self, peer_id: str) -> list[pb.Enrollment]:
        """Enrollments with their history."""
        found = await self._store.enrollments(peer_id)
        for enrollment in found:
            record = self._records.get(enrollment.peer_id)
            if record is not None and record.advertisement is not None and record.status == READY:
                enrollment.published_service_count = len(record.advertisement.services)
        return found
