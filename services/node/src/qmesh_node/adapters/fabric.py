"""The node on the network: gate and state protocols, adverts, enrollment, control, probes of links."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import structlog
import trio
from google.protobuf.message import DecodeError

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import control_pb2 as control
from qmesh.fabric.v1 import enroll_pb2 as enrollment
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric import adverts, protocols
from qmesh_fabric.channel import serve_channel
from qmesh_fabric.control import follow
from qmesh_fabric.enroll import enroll
from qmesh_fabric.errors import FabricError, PeerGone, RemoteError
from qmesh_fabric.host import Host
from qmesh_fabric.identity import Identity
from qmesh_fabric.state import pull, serve_state
from qmesh_node.application import SOFTWARE, NodeService
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import RejectedError, StaleClaimError
from qmesh_node.domain.store import Key, Version, VersionStore, key_of
from qmesh_node.domain.token import TokenChecker
from qmesh_node.settings import Description

log = structlog.get_logger()

_PERIOD = 2.0
_RETRY = 1.0
_AVAILABLE = advert.AVAILABILITY_AVAILABLE


class PeersFile:
    """Peer ids in a file, one a line; read again when the file changes."""

    def __init__(self, path: Path) -> None:
        """Takes the path."""
        self._path = path
        self._stamp = -1.0
        self._peers: frozenset[str] = frozenset()

    def __contains__(self, peer_id: str) -> bool:
        """Whether a peer is listed."""
        try:
            stamp = self._path.stat().st_mtime
        except OSError:
            return peer_id in self._peers
        if stamp != self._stamp:
            self._peers = frozenset(self._path.read_text().split())
            self._stamp = stamp
        return peer_id in self._peers


class Directory:
    """Admitted nodes, as the registries say."""

    def __init__(self) -> None:
        """Empty until a registry sends one."""
        self.nodes: dict[str, list[str]] = {}
        self.probes: list[str] = []
        self.period = 10.0

    def replace(self, message: control.PeerDirectory) -> None:
        """Takes a new directory over."""
        self.nodes = {entry.peer_id: list(entry.addresses) for entry in message.nodes}


class PulledStates:
    """Versions from their holders; concurrent pulls of one version are one transfer."""

    def __init__(self, host: Host) -> None:
        """Takes the host."""
        self._host = host
        self._running: dict[tuple[Key, bytes], tuple[trio.Event, list[Ensemble]]] = {}

    async def pull(
        self, ref: state.ComponentRef, addresses: Sequence[str], token: bytes, deadline: float
    ) -> Ensemble:
        """The version that a reference names."""
        key = (key_of(ref.id), ref.digest)  # equal states of different versions have equal digests
        known = self._running.get(key)
        if known is not None:
            await known[0].wait()
            if known[1]:
                return known[1][0]
        entry: tuple[trio.Event, list[Ensemble]] = (trio.Event(), [])
        self._running[key] = entry
        try:
            with trio.fail_after(max(0.1, deadline - time.time())):
                _, data, rows_bytes = await pull(self._host, ref, addresses, token=token, limit=ref.bytes)
            ensemble = _ensemble(ref, data, rows_bytes)
            entry[1].append(ensemble)
        except (PeerGone, RemoteError, trio.TooSlowError) as error:
            log.warning("an input could not be pulled", holder=ref.holder, error=repr(error))
            raise LookupError(ref.holder) from None
        finally:
            entry[0].set()
            self._running.pop(key, None)
        return ensemble


def _ensemble(ref: state.ComponentRef, data: bytearray, rows_bytes: int) -> Ensemble:
    dtype = np.complex64 if ref.precision == state.PRECISION_SINGLE else np.complex128
    states = np.frombuffer(data, dtype=dtype, count=rows_bytes // np.dtype(dtype).itemsize)
    rows = np.frombuffer(data, dtype=np.uint32, offset=rows_bytes)
    if states.size != ref.rows << len(ref.wires) or rows.size != ref.shots.count or rows.size == 0:
        raise LookupError(ref.holder)
    if int(rows.max()) >= ref.rows:
        raise LookupError(ref.holder)
    return Ensemble(tuple(ref.wires), states.reshape(int(ref.rows), -1), rows, shared=True)


class NodeFabric:
    """Everything that the node does on the network."""

    def __init__(
        self,
        *,
        host: Host,
        identity: Identity,
        service: NodeService,
        store: VersionStore,
        tokens: TokenChecker,
        description: Description,
        runtimes: PeersFile,
        directory: Directory,
        registries: Sequence[str],
        advertised: Sequence[str],
        pool_token: str,
        on_ready: Callable[[], None],
    ) -> None:
        """Wires the node; `run` starts it."""
        self._host = host
        self._identity = identity
        self._service = service
        self._store = store
        self._tokens = tokens
        self._description = description
        self._runtimes = runtimes
        self._directory = directory
        self._registries = [(text.rpartition("/p2p/")[2], [text]) for text in registries]
        self._advertised = list(advertised)
        self._pool_token = pool_token
        self._on_ready = on_ready
        self._counter = 0
        self._rtt: dict[str, float] = {}
        self._probed: dict[str, float] = {}
        self._report_out: list[trio.MemorySendChannel[control.ControlReport]] = []
        self._drop = random.Random()  # noqa: S311 - injected faults, not a secret

    async def run(self) -> None:
        """Serves and advertises until it is cancelled."""
        self._host.serve(protocols.GATE, serve_channel(self._answer), admits=self._runtimes.__contains__)
        self._host.serve(protocols.STATE, serve_state(self._open), admits=self._may_pull)
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

    def _open(self, peer_id: str, request: state.PullRequest) -> tuple[state.ComponentRef, list[memoryview]]:
        """Grants a pull to a node with a token of the same job, or to a runtime with the job's fence."""
        job_id = request.id.job_id
        if peer_id in self._runtimes:
            if request.fence != (self._store.fence(job_id) or -1):
                raise FabricError("STALE_CLAIM", "the fence is not the job's newest")
        else:
            try:
                fence = self._store.fence(job_id) or 0
                self._tokens.check(
                    request.reservation_token, job_id=job_id, node_id=peer_id, fence=fence, now=time.time()
                )
            except RejectedError as error:
                raise FabricError("REJECTED", error.message) from None
        version = self._store.get(request.id)
        if version is None:
            raise FabricError("NOT_FOUND", "this version is not here")
        if request.digest and request.digest != version.ref.digest:
            raise FabricError("DIGEST_MISMATCH", "this version has another digest here")
        return version.ref, _memory(version)

    async def _stay(self, registry: str, addresses: Sequence[str]) -> None:
        """Enrolls at a registry and keeps the control stream open, for ever."""
        while True:
            try:
                result = await enroll(
                    self._host, self._identity, registry, addresses, self._hello(), self._pool_token
                )
                status = enrollment.EnrollmentStatus.Name(result.status)
                log.info("enrollment", status=status, registry=registry)
                if result.status == enrollment.ENROLLMENT_STATUS_READY:
                    send, receive = trio.open_memory_channel[control.ControlReport](16)
                    self._report_out.append(send)
                    self._on_ready()
                    try:
                        await follow(self._host, registry, addresses, self._obey, receive)
                    finally:
                        self._report_out.remove(send)
                else:
                    await trio.sleep(5 * _RETRY)
            except PeerGone as error:
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
            log.info("trust changed", status=enrollment.EnrollmentStatus.Name(command.trust.status))

    async def _advertise(self) -> None:
        while True:
            if self._report_out:
                try:
                    await adverts.publish(self._host, self.advertisement())
                except ValueError as error:
                    log.error("advertisement", error=str(error))
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
            executors=["ensemble"],
            name=described.name,
            software=SOFTWARE,
            readout_fidelity=described.readout_fidelity,
            capacity=advert.Capacity(
                data_qubits=described.data_qubits,
                link_qubits=described.link_qubits,
                state_bytes=described.state_bytes,
                concurrency=described.concurrency,
            ),
            load=advert.Load(
                active_executions=self._service.meter.active,
                state_bytes_used=self._store.used_bytes,
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
        for link in described.links:
            message.links.add(
                peer_id=link.peer_id,
                rtt_seconds=self._rtt.get(link.peer_id, 0.0),
                pair_fidelity=link.pair_fidelity,
                pair_rate_hz=link.pair_rate_hz,
                measured_at=self._probed.get(link.peer_id, 0.0),
            )
        return message

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
            with trio.move_on_after(1):
                await stream.reset()
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


def _memory(version: Version) -> list[memoryview]:
    return [version.ensemble.states.data, version.ensemble.row_of_shot.data]
