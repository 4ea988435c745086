"""The node on the network: gate and state protocols, adverts, enrollment, control, probes of links."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enrollment
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_fabric import adverts, protocols
from qmesh_fabric.channel import serve_channel
from qmesh_fabric.control import follow
from qmesh_fabric.enroll import enroll
from qmesh_fabric.errors import FabricError, PeerGone
from qmesh_fabric.frames import end_stream
from qmesh_fabric.host import Host
from qmesh_fabric.identity import Identity
from qmesh_fabric.overlap import serve_overlap
from qmesh_fabric.state import serve_state
from qmesh_node.adapters.overlaps import OpenedOverlaps
from qmesh_node.adapters.peers import Directory, PeersFile
from qmesh_node.adapters.states import OpenedStates
from qmesh_node.application import SOFTWARE, NodeService
from qmesh_node.domain.errors import StaleClaimError
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.store import VersionStore
from qmesh_node.settings import Description, LinkDescription

log = structlog.get_logger()

_PERIOD = 2.0
_RETRY = 1.0
_AVAILABLE = advert.AVAILABILITY_AVAILABLE


class NodeFabric:
    """Everything that the node does on the network."""

    def __init__(
        self,
        *,
        host: Host,
        identity: Identity,
        service: NodeService,
        memory: Memory,
        store: VersionStore,
        states: OpenedStates,
        comparisons: OpenedOverlaps,
        description: Description,
        dense_qubits: int,
        runtimes: PeersFile,
        directory: Directory,
        registries: Sequence[str],
        advertised: Sequence[str],
        pool_token: str,
        on_ready: Callable[[], None],
        on_waiting: Callable[[str], None],
    ) -> None:
        """Wires the node; `run` starts it."""
        self._host = host
        self._identity = identity
        self._service = service
        self._memory = memory
        self._store = store
        self._states = states
        self._comparisons = comparisons
        self._description = description
        self._dense_qubits = dense_qubits
        self._runtimes = runtimes
        self._directory = directory
        self._registries = [(text.rpartition("/p2p/")[2], [text]) for text in registries]
        self._advertised = list(advertised)
        self._pool_token = pool_token
        self._on_ready = on_ready
        self._on_waiting = on_waiting
        self._counter = 0
        self._rtt: dict[str, float] = {}
        self._probed: dict[str, float] = {}
        self._report_out: list[trio.MemorySendChannel[control.ControlReport]] = []
        self._drop = random.Random()  # noqa: S311 - injected faults, not a secret

    async def run(self) -> None:
        """Serves and advertises until it is cancelled."""
        self._host.serve(protocols.GATE, serve_channel(self._answer), admits=self._runtimes.__contains__)
        self._host.serve(protocols.STATE, serve_state(self._states.open), admits=self._may_pull)
        self._host.serve(
            protocols.OVERLAP, serve_overlap(self._comparisons.admit), admits=self._runtimes.__contains__
        )
        async with trio.open_nursery() as nursery:
            for peer_id, addresses in self._registries:
                nursery.start_soon(self._stay, peer_id, addresses)
            nursery.start_soon(self._advertise)
            nursery.start_soon(self._probe)
            nursery.start_soon(self._sweep)

    def _may_pull(self, peer_id: str) -> bool:
        return peer_id in self._directory.nodes or peer_id in self._runtimes

    async def _answer(self, _peer_id: str, payload: bytes) -> bytes:
        try:
            request = gate.GateRequest.FromString(payload)
        except DecodeError:
            raise FabricError("INVALID_ARGUMENT", "the request is no gate request") from None
        kind = request.WhichOneof("request")
        if kind == "execute":
            if self._description.behaviour.drop and self._drop.random() < self._description.behaviour.drop:
                await trio.sleep_forever()
            execute = await self._service.execute(request.execute)
            return gate.GateResponse(execute=execute).SerializeToString()
        if kind == "release":
            try:
                release = self._service.release(request.release)
            except StaleClaimError as error:
                raise FabricError("STALE_CLAIM", error.message) from None
            return gate.GateResponse(release=release).SerializeToString()
        if kind == "ping":
            return gate.GateResponse(ping=self._service.ping()).SerializeToString()
        raise FabricError("INVALID_ARGUMENT", "the gate request asks for nothing")

    async def _stay(self, registry: str, addresses: Sequence[str]) -> None:
        """Enrolls at a registry and keeps the control stream open, for ever."""
        while True:
            try:
                result = await enroll(
                    self._host, self._identity, registry, addresses, self._hello(), self._pool_token
                )
                log.info("enrollment", status=_name(result.status), registry=registry)
                if result.status == enrollment.ENROLLMENT_STATUS_READY:
                    send, receive = trio.open_memory_channel[control.ControlReport](16)
                    self._report_out.append(send)
                    self._on_ready()
                    try:
                        await follow(self._host, registry, addresses, self._obey, receive)
                    finally:
                        self._report_out.remove(send)
                else:
                    self._on_waiting(f"enrollment: {_name(result.status)}")
                    await trio.sleep(5 * _RETRY)
            except PeerGone as error:
                self._on_waiting(f"registry: {error}")
                log.warning("registry lost", registry=registry, error=str(error))
            await trio.sleep(_RETRY * (0.5 + self._drop.random()))

    def _hello(self) -> enrollment.EnrollHello:
        names = ", ".join(service.service_type for service in self._description.services)
        return enrollment.EnrollHello(
            peer_id=self._identity.peer_id,
            name=self._description.name,
            listen_addrs=self._advertised,
            capability_summary=f"{self._description.data_qubits} data qubits: {names}"[:1024],
        )

    async def _obey(self, command: control.ControlCommand) -> None:
        kind = command.WhichOneof("command")
        if kind == "directory":
            self._directory.replace(command.directory)
        elif kind == "probes":
            self._directory.probes = list(command.probes.peer_ids)
            self._directory.period = max(1.0, command.probes.period_seconds)
        elif kind == "drain":
            self._service.draining = True
        elif kind == "trust":
            log.info("trust changed", status=_name(command.trust.status))

    async def _advertise(self) -> None:
        while True:
            if self._report_out:
                try:
                    await adverts.publish(self._host, self.advertisement())
                except ValueError as error:
                    log.warning("an advertisement was not sent", error=str(error))
            await trio.sleep(_PERIOD if self._counter > 2 else 0.25)  # noqa: PLR2004 - be seen soon after the start

    def advertisement(self) -> advert.Advertisement:
        """What the node says of itself now."""
        self._counter += 1
        described = self._description
        availability = advert.AVAILABILITY_DRAINING if self._service.draining else _AVAILABLE
        message = advert.Advertisement(
            node_id=self._identity.peer_id,
            epoch=self._service.epoch,
            counter=self._counter,
            issued_at=time.time(),
            listen_addrs=self._advertised,
            state_transfer=True,
            executors=["ensemble", "stabilizer"],
            name=described.name,
            software=SOFTWARE,
            readout_fidelity=described.readout_fidelity,
            capacity=advert.Capacity(
                data_qubits=described.data_qubits,
                link_qubits=described.link_qubits,
                state_bytes=described.state_bytes,
                concurrency=described.concurrency,
                dense_qubits=self._dense_qubits,
            ),
            load=advert.Load(
                active_executions=self._service.meter.active,
                state_bytes_used=self._memory.used,
                busy=self._service.meter.busy(time.time()),
            ),
            memory=advert.Memory(t1_seconds=described.t1_ns / 1e9, t2_seconds=described.t2_ns / 1e9),
        )
        for offer in described.services:
            message.services.add(
                service_type=offer.service_type,
                fidelity=offer.fidelity,
                qubit_min=offer.qubit_min,
                qubit_max=offer.qubit_max,
                availability=availability,
                gate_set=offer.gate_set,
                duration_ns=offer.duration_ns,
            )
        for peer_id, link in self._links().items():
            message.links.add(
                peer_id=peer_id,
                rtt_seconds=self._rtt.get(peer_id, 0.0),
                pair_fidelity=link.pair_fidelity,
                pair_rate_hz=link.pair_rate_hz,
                measured_at=self._probed.get(peer_id, 0.0),
            )
        return message

    def _links(self) -> dict[str, LinkDescription]:
        """The link to each peer: the first that is described; those by name once the directory knows the peer."""
        found: dict[str, LinkDescription] = {}
        for link in self._description.links:
            ends = [
                peer_id
                for peer_id, name in self._directory.names.items()
                if peer_id != self._identity.peer_id and link.leads_to(name)
            ]
            for peer_id in ends if link.peer_id is None else [link.peer_id]:
                found.setdefault(peer_id, link)
        return found

    async def _probe(self) -> None:
        """Measures round trips to the peers that the registry names, by opening a state stream."""
        while True:
            await trio.sleep(1.0 if not self._rtt else self._directory.period)
            results = []
            for peer_id in list(self._directory.probes):
                addresses = self._directory.nodes.get(peer_id)
                if addresses:
                    results.append(await self._probe_one(peer_id, addresses))
            if results:
                report = control.ControlReport(probes=results)
                for channel in list(self._report_out):
                    try:
                        channel.send_nowait(report)
                    except (trio.WouldBlock, trio.BrokenResourceError):
                        continue  # this registry's stream is on its way out

    async def _probe_one(self, peer_id: str, addresses: Sequence[str]) -> control.ProbeResult:
        try:
            await self._host.connect(peer_id, addresses)
            begun = trio.current_time()
            stream = await self._host.open_stream(peer_id, addresses, protocols.STATE)
            rtt = trio.current_time() - begun
            await end_stream(stream)
        except PeerGone:
            return control.ProbeResult(peer_id=peer_id, reachable=False)
        known = self._rtt.get(peer_id, rtt)
        self._rtt[peer_id] = 0.7 * known + 0.3 * rtt
        self._probed[peer_id] = time.time()
        return control.ProbeResult(peer_id=peer_id, rtt_seconds=self._rtt[peer_id], reachable=True)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(5)
            forgotten = self._store.expire(time.time())
            if forgotten:
                log.info("jobs past their time were forgotten", jobs=forgotten)


def _name(status: enrollment.EnrollmentStatus.ValueType) -> str:
    """A status for people, also one of a newer registry."""
    return (
        enrollment.EnrollmentStatus.Name(status)
        if status in enrollment.EnrollmentStatus.values()
        else str(status)
    )
