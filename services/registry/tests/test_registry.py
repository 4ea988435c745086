"""Enrollment, visibility, staleness and snapshots: the registry's rules without a network."""

import asyncio
import hashlib
import math
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import enroll_pb2 as enroll
from qmesh.registry.v1 import registry_pb2 as pb
from qmesh_kit.errors import ServiceError
from qmesh_registry import application
from qmesh_registry.domain.observed import Observed
from qmesh_registry.domain.peers import objection_to, quantised_rtt

READY = enroll.ENROLLMENT_STATUS_READY
PENDING = enroll.ENROLLMENT_STATUS_PENDING_APPROVAL
APPROVE, REJECT, QUARANTINE = (
    pb.ENROLLMENT_ACTION_APPROVE,
    pb.ENROLLMENT_ACTION_REJECT,
    pb.ENROLLMENT_ACTION_QUARANTINE,
)


class Nodes:
    """The nodes' port: notes what it is told."""

    def __init__(self) -> None:
        self.directories: list[list[str]] = []
        self.ended: list[tuple[str, int, str]] = []

    def send_directory(self, entries: Any, version: int) -> None:  # noqa: ARG002 - the port's
        """Notes who is in it."""
        self.directories.append([peer for peer, _, _ in entries])

    def shut_out(self, peer_id: str, status: int, reason: str) -> None:
        """Notes who was shut out."""
        self.ended.append((peer_id, status, reason))


def _act(
    lab: ModuleType, name: str, action: pb.EnrollmentAction.ValueType, reason: str = ""
) -> pb.ActOnEnrollmentRequest:
    return pb.ActOnEnrollmentRequest(
        caller=caller.Caller(principal="operator"), peer_id=lab.peer(name), action=action, reason=reason
    )


# -- enrollment ------------------------------------------------------------------------------------------------------


async def test_the_pool_token_admits_and_anything_else_waits(lab: ModuleType) -> None:
    """With the token a peer is ready and platform managed; with another or none it waits, public and untrusted."""
    store = lab.MemoryStore()
    made = lab.registry(store)
    admitted = await made.decide(lab.hello("one"), lab.POOL_TOKEN)
    assert (admitted.status, admitted.tier) == (READY, enroll.TRUST_TIER_PLATFORM_MANAGED)
    for token in ("", "another", lab.POOL_TOKEN + "x", "ünïcode"):
        waits = await made.decide(lab.hello("two"), token)
        assert (waits.status, waits.tier) == (PENDING, enroll.TRUST_TIER_PUBLIC_UNTRUSTED)
    assert made.ready(lab.peer("one"))
    assert not made.ready(lab.peer("two"))
    assert store.history == [
        (lab.peer("one"), READY, "pool token"),
        (lab.peer("two"), PENDING, "enroll protocol"),
    ]
    later = await made.decide(lab.hello("two"), lab.POOL_TOKEN)
    assert later.status == READY


async def test_without_a_configured_token_no_token_admits(lab: ModuleType) -> None:
    """A registry that has no pool token admits nobody by the empty one."""
    made = application.Registry(lab.MemoryStore(), pool_token=None, advert_period=2.0, unknown_peers=4)
    assert (await made.decide(lab.hello("one"), "")).status == PENDING


async def test_what_is_not_durable_did_not_happen(lab: ModuleType) -> None:
    """While the database is away an enrollment or an action fails and changes nothing, and saving is tried again."""
    store = lab.MemoryStore()
    made = lab.registry(store)
    await lab.join(made, "one")
    store.away = True
    with pytest.raises(ServiceError):
        await made.decide(lab.hello("two"), lab.POOL_TOKEN)
    assert not made.ready(lab.peer("two"))
    with pytest.raises(ServiceError):
        await made.act(_act(lab, "one", QUARANTINE))
    assert made.ready(lab.peer("one"))
    with pytest.raises(ServiceError):
        await made.save()
    store.away = False
    await made.save()
    assert set(store.adverts) == {lab.peer("one")}


async def test_actions_approve_reject_and_quarantine(lab: ModuleType) -> None:
    """Each action has its status and tier, is effective at once, and shuts out whom it should."""
    made, nodes = lab.registry(), Nodes()
    made.nodes = nodes
    await made.decide(lab.hello("one"), "")
    approved = await made.act(_act(lab, "one", APPROVE, "known"))
    assert (approved.status, approved.tier) == (READY, enroll.TRUST_TIER_USER_CONTRIBUTED)
    made.joined(lab.peer("one"))
    made.advertised(lab.advertisement("one"))
    await made._publish()
    assert [node.name for node in made.newest.nodes] == ["one"]
    gone = await made.act(_act(lab, "one", QUARANTINE, "misbehaved"))
    assert (gone.status, gone.tier) == (
        enroll.ENROLLMENT_STATUS_QUARANTINED,
        enroll.TRUST_TIER_QUARANTINED,
    )
    assert nodes.ended == [(lab.peer("one"), enroll.ENROLLMENT_STATUS_QUARANTINED, "misbehaved")]
    assert not made.admits(lab.peer("one"), [])
    assert not made.may_advertise(lab.peer("one"))
    await made._publish()
    assert not made.newest.nodes
    assert (
        await made.decide(lab.hello("one"), lab.POOL_TOKEN)
    ).status == enroll.ENROLLMENT_STATUS_QUARANTINED
    rejected = await made.act(_act(lab, "one", REJECT))
    assert rejected.status == enroll.ENROLLMENT_STATUS_REJECTED


async def test_approving_an_admitted_peer_keeps_its_tier(lab: ModuleType) -> None:
    """Approval never degrades a platform-managed node."""
    made = lab.registry()
    await lab.join(made, "one")
    assert (await made.act(_act(lab, "one", APPROVE))).tier == enroll.TRUST_TIER_PLATFORM_MANAGED


@pytest.mark.parametrize(
    ("name", "action", "reason", "code"),
    [
        ("one", pb.ENROLLMENT_ACTION_UNSPECIFIED, "", "INVALID_ARGUMENT"),
        ("one", 99, "", "INVALID_ARGUMENT"),
        ("nobody", APPROVE, "", "NOT_FOUND"),
        ("one", APPROVE, "a\0b", "INVALID_ARGUMENT"),
        ("one", APPROVE, "\x1b[2J", "INVALID_ARGUMENT"),
        ("one", APPROVE, "x" * 501, "INVALID_ARGUMENT"),
    ],
)
async def test_actions_that_make_no_sense_are_refused(
    lab: ModuleType, name: str, action: Any, reason: str, code: str
) -> None:
    """Unknown actions, unknown peers and texts that nobody can store or read have their codes."""
    made = lab.registry()
    await lab.join(made, "one")
    with pytest.raises(ServiceError) as refused:
        await made.act(_act(lab, name, action, reason))
    assert refused.value.code == code


async def test_slots_for_strangers_are_few_and_come_back(lab: ModuleType) -> None:
    """32 connected strangers fill the slots for others, never for admitted peers; one that leaves makes room."""
    made = lab.registry(unknown=2)
    await lab.join(made, "node")
    strangers = [lab.peer("a"), lab.peer("b")]
    assert made.admits(lab.peer("b"), [lab.peer("node"), strangers[0]])
    assert not made.admits(lab.peer("c"), strangers)
    assert made.admits(lab.peer("b"), strangers), "it has its slot already"
    assert made.admits(lab.peer("node"), strangers)
    assert made.admits(lab.peer("c"), strangers[:1])


async def test_waiting_peers_are_bounded_and_the_token_still_admits(lab: ModuleType) -> None:
    """Sybils fill the waiting list, not the database; a peer with the pool token is admitted all the same."""
    store = lab.MemoryStore()
    made = lab.registry(store, unknown=1)
    for number in range(8):
        await made.decide(lab.hello(f"s{number}"), "")
    with pytest.raises(ServiceError) as refused:
        await made.decide(lab.hello("s8"), "")
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    assert len(store.history) == 8
    assert (await made.decide(lab.hello("node"), lab.POOL_TOKEN)).status == READY


# -- visibility ------------------------------------------------------------------------------------------------------


async def test_a_peer_that_waits_is_seen_without_its_services(lab: ModuleType) -> None:
    """Pending peers are listed as public and untrusted with services hidden, and are in no snapshot and no directory."""
    clock, nodes = lab.Clock(), Nodes()
    made = lab.registry(clock=clock)
    made.nodes = nodes
    await made.decide(lab.hello("two"), "")
    made.advertised(lab.advertisement("two"))
    await lab.join(made, "one")
    await made._publish()
    peers, _ = made.peers(include_stale=False)
    seen = {p.name: p for p in peers}
    assert seen["two"].tier == enroll.TRUST_TIER_PUBLIC_UNTRUSTED
    assert not seen["two"].services
    assert seen["two"].capacity.data_qubits == 4
    assert [s.service_type for s in seen["one"].services] == ["hadamard", "cnot"]
    assert [node.name for node in made.newest.nodes] == ["one"]
    assert nodes.directories[-1] == [lab.peer("one")]
    clock.now += 16
    assert lab.peer("two") not in [p.peer_id for p in made.peers(include_stale=False)[0]]
    assert lab.peer("two") in [p.peer_id for p in made.peers(include_stale=True)[0]]


def test_adverts_of_strangers_are_not_taken(lab: ModuleType) -> None:
    """Who never asked to be admitted may not advertise, and a late advert of somebody unknown makes no peer."""
    made = lab.registry()
    assert not made.may_advertise(lab.peer("x"))
    made.advertised(lab.advertisement("x"))
    assert made.peers(include_stale=True) == ([], [])


def test_services_that_no_circuit_can_ask_for_are_objected_to(lab: ModuleType) -> None:
    """An unknown service type is refused, the catalogue's are not."""
    message = lab.advertisement("one")
    assert objection_to(message) is None
    message.services[0].service_type = "magic"
    assert objection_to(message) == "unknown service"


async def test_a_node_is_stale_after_three_missed_periods(lab: ModuleType) -> None:
    """Six seconds without an advert are too many with one every two; the next advert heals."""
    clock = lab.Clock()
    made = lab.registry(clock=clock)
    await lab.join(made, "one")

    async def health() -> tuple[int, int]:
        await made._publish()
        return made.peer(lab.peer("one")).health, len(made.newest.nodes)

    assert await health() == (pb.HEALTH_STATUS_HEALTHY, 1)
    clock.now += 6
    assert await health() == (pb.HEALTH_STATUS_HEALTHY, 1)
    clock.now += 0.1
    assert await health() == (pb.HEALTH_STATUS_STALE, 0)
    made.advertised(lab.advertisement("one", counter=2))
    assert await health() == (pb.HEALTH_STATUS_HEALTHY, 1)
    made.left(lab.peer("one"))
    assert await health() == (pb.HEALTH_STATUS_UNREACHABLE, 0)


async def test_a_draining_node_gets_no_new_plan(lab: ModuleType) -> None:
    """A node that says it drains is in no snapshot, and a node that came back with a new epoch is marked."""
    made = lab.registry()
    await lab.join(made, "one")
    message = lab.advertisement("one", epoch=2)
    for offer in message.services:
        offer.availability = advert.AVAILABILITY_DRAINING
    made.advertised(message)
    await made._publish()
    seen = made.peer(lab.peer("one"))
    assert (seen.health, seen.rejoined, seen.epoch) == (pb.HEALTH_STATUS_DRAINING, True, 2)
    assert not made.newest.nodes


# -- snapshots -------------------------------------------------------------------------------------------------------


async def test_a_snapshots_id_is_the_digest_of_its_content(lab: ModuleType) -> None:
    """Anybody can compute it from nodes and links; order of arrival, times, counters and jitter do not enter."""
    link = {"peer_id": lab.peer("one"), "rtt_seconds": 0.0011, "pair_fidelity": 0.95, "pair_rate_hz": 100.0}
    ids = set()
    for names, jitter in ((("one", "two"), 0.0), (("two", "one"), 0.0002)):
        made = lab.registry(clock=lab.Clock(1e9 + jitter * 1e6))
        await lab.join(made, *names)
        made.advertised(
            lab.advertisement(
                "two",
                counter=7 + int(jitter * 1e4),
                links=[link | {"rtt_seconds": 0.0011 + jitter, "measured_at": 1e9 + jitter}],
                load=advert.Load(busy=0.31 + jitter, active_executions=int(jitter * 1e4)),
            )
        )
        await made._publish()
        newest = made.newest
        content = pb.Snapshot(nodes=newest.nodes, links=newest.links).SerializeToString(deterministic=True)
        assert newest.snapshot_id == hashlib.sha256(content).hexdigest()
        assert [node.node_id for node in newest.nodes] == sorted(node.node_id for node in newest.nodes)
        assert [s.service_type for s in newest.nodes[0].services] == ["cnot", "hadamard"]
        assert newest.nodes[0].load_permille in {0, 300}
        ids.add(newest.snapshot_id)
    assert len(ids) == 1


async def test_equal_content_is_no_new_version_and_other_content_is(lab: ModuleType) -> None:
    """A further advert with the same facts changes nothing; another fidelity is the next version."""
    made = lab.registry()
    await lab.join(made, "one")
    await made._publish()
    first = made.newest
    made.advertised(lab.advertisement("one", counter=2))
    await made._publish()
    assert made.newest is first
    message = lab.advertisement("one", counter=3)
    message.services[0].fidelity = 0.5
    made.advertised(message)
    await made._publish()
    assert made.newest.version == first.version + 1
    assert await made.snapshot(first.snapshot_id) == first


async def test_versions_go_up_over_restarts_and_pinned_snapshots_stay(lab: ModuleType) -> None:
    """After a restart peers are known but gone until heard, counters are remembered, and cited snapshots are served."""
    store = lab.MemoryStore()
    before = lab.registry(store)
    await before.restore()
    await lab.join(before, "one")
    await before._publish()
    await before.pin(before.newest.snapshot_id)
    await before.save()
    after = lab.registry(store)
    await after.restore()
    assert after.newest.version > before.newest.version
    assert not after.newest.nodes
    assert after.ready(lab.peer("one"))
    assert after.heard() == {lab.peer("one"): (1, 1)}
    assert (await after.snapshot(before.newest.snapshot_id)).nodes[0].name == "one"
    with pytest.raises(ServiceError) as missing:
        await after.snapshot("0" * 64)
    assert missing.value.code == "NOT_FOUND"


async def test_a_snapshot_changes_at_most_once_a_second(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first change comes at once; of a node that flaps two hundred times a second at most one a period is published."""
    monkeypatch.setattr(application, "MIN_INTERVAL", 0.3)
    made = lab.registry()
    seen: list[float] = []
    loop = asyncio.get_running_loop()

    async def watch() -> None:
        async for _ in made.watch():
            seen.append(loop.time())  # noqa: PERF401 - the times while it goes on, not afterwards

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        tasks = [group.create_task(made.run()), group.create_task(watch())]
        begun = loop.time()
        await lab.join(made, "one")
        while len(seen) < 2:  # noqa: ASYNC110 - the watcher has no event to tell of it
            await asyncio.sleep(0.01)
        assert seen[-1] - begun < 0.25
        for number in range(200):
            made.left(lab.peer("one"))
            made.joined(lab.peer("one"))
            await asyncio.sleep(0.005)
            made.advertised(lab.advertisement("one", counter=number + 2, load=advert.Load(busy=number / 200)))
        for task in tasks:
            task.cancel()
    gaps = [b - a for a, b in pairwise(seen[1:])]
    assert len(gaps) >= 2
    assert all(gap > 0.29 for gap in gaps)


async def test_watchers_get_the_newest_and_every_change_once(lab: ModuleType) -> None:
    """A watcher begins with what is, and waits while nothing changes."""
    made = lab.registry()
    watch = made.watch()
    first = await anext(watch)
    assert not first.nodes
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not waiting.done()
    await lab.join(made, "one")
    await made._publish()
    assert [node.name for node in (await waiting).nodes] == ["one"]
    await watch.aclose()


async def test_links_are_merged_from_both_ends(lab: ModuleType) -> None:
    """Fidelity and rate are means of what both ends say; a link to somebody unknown is none."""
    made = lab.registry()
    await lab.join(made, "one", "two")
    for name, other, fidelity in (("one", "two", 0.9), ("two", "one", 0.8), ("one", "nobody", 0.7)):
        link = {
            "peer_id": lab.peer(other),
            "pair_fidelity": fidelity,
            "pair_rate_hz": 100.0,
            "rtt_seconds": 0.001,
        }
        record = made._records[lab.peer(name)].advertisement
        assert record is not None
        record.links.add(**link)
    await made._publish()
    (link,) = made.newest.links
    assert (link.node_a, link.node_b) == tuple(sorted((lab.peer("one"), lab.peer("two"))))
    assert link.pair_fidelity == pytest.approx(0.85)
    assert link.rtt_us == 1024


def test_round_trips_are_powers_of_two() -> None:
    """Jitter within a factor of two makes no new snapshot; below 256 us everything is one."""
    assert [quantised_rtt(s) for s in (0.0, 1e-5, 2e-4, 0.0006, 0.001, 0.06)] == [
        0,
        256,
        256,
        1024,
        1024,
        65536,
    ]


# -- observations ----------------------------------------------------------------------------------------------------


async def test_observations_move_the_estimates(lab: ModuleType) -> None:
    """Failures are smoothed and quantised, fidelities averaged over sampled successes; nonsense is refused whole."""
    made = lab.registry()
    await lab.join(made, "one")
    good = pb.Observation(
        node_id=lab.peer("one"), service_type="cnot", success=True, sampled=True, fidelity=0.9
    )
    for bad in (
        pb.Observation(node_id=lab.peer("one"), service_type="cnot", fidelity=math.nan),
        pb.Observation(node_id=lab.peer("one"), service_type="cnot", fidelity=1.5),
        pb.Observation(node_id=lab.peer("one"), service_type="magic", fidelity=0.5),
    ):
        with pytest.raises(ServiceError):
            made.observe([good, bad])
    assert not made._records[lab.peer("one")].observed.samples
    made.observe([good] * 5 + [pb.Observation(node_id="nobody", service_type="cnot", success=True)])
    observed = made._records[lab.peer("one")].observed
    assert [(s.service_type, s.samples, s.mean_fidelity) for s in observed.services()] == [("cnot", 4, 0.9)]
    failing = Observed()
    for _ in range(50):
        failing.take(pb.Observation(service_type="cnot", success=False))
    assert failing.failure_permille == 1000


async def _restarted(lab: ModuleType) -> application.Registry:
    """A registry that was started again after two nodes had been there."""
    store = lab.MemoryStore()
    before = lab.registry(store)
    await lab.join(before, "one", "two")
    await before.save()
    after: application.Registry = lab.registry(store)
    await after.restore()
    return after


async def test_after_a_restart_watchers_wait_for_the_nodes_that_were_there(lab: ModuleType) -> None:
    """The first snapshot has every node that was there before: no planner sees a mesh without nodes."""
    made = await _restarted(lab)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(made.run())
        first = group.create_task(anext(made.watch()))
        await lab.join(made, "one")
        await asyncio.sleep(0.1)
        assert not first.done()
        await lab.join(made, "two")
        assert {node.name for node in (await first).nodes} == {"one", "two"}
        running.cancel()


async def test_watchers_do_not_wait_for_nodes_that_stay_away(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time in which a peer becomes stale, the snapshot has those that are there."""
    made = await _restarted(lab)
    monkeypatch.setattr(made, "_stale_after", 0.3)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(made.run())
        first = await anext(made.watch())
        assert first.nodes == []
        running.cancel()
