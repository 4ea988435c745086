"""Entry point of a quantum service node: trio only."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

import trio

from qmesh_fabric.errors import ListenError, first_of
from qmesh_fabric.host import open_host
from qmesh_fabric.identity import Identity, load_or_create
from qmesh_kit import logs
from qmesh_kit.ledger import Ledger
from qmesh_kit.metrics import Metrics
from qmesh_kit.probes import ProbeServer, Readiness
from qmesh_kit.runner import write_ready
from qmesh_kit.settings import load
from qmesh_node.adapters.fabric import NodeFabric
from qmesh_node.adapters.overlaps import OpenedOverlaps
from qmesh_node.adapters.peers import Directory, PeersFile
from qmesh_node.adapters.states import OpenedStates, PulledStates
from qmesh_node.application import NodeService
from qmesh_node.domain.admission import Limits, Offer
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.noise import Behaviour
from qmesh_node.domain.store import VersionStore
from qmesh_node.domain.token import TokenChecker
from qmesh_node.settings import (
    Description,
    NodeSection,
    Settings,
    next_epoch,
    read_description,
    read_token_keys,
)

log = logs.get(service="node")

_EX_CONFIG = 78


def _behaviour(description: Description) -> Behaviour:
    told = description.behaviour
    return Behaviour(told.true_fidelity, told.delay_ms / 1000, told.drop, told.drift_per_hour)


@dataclass(frozen=True, slots=True)
class _Boot:
    """What the files say that the settings name."""

    description: Description
    identity: Identity
    token_keys: list[bytes]
    epoch: int


def _read(section: NodeSection) -> _Boot:
    return _Boot(
        read_description(section.description_file, section.name),
        load_or_create(section.identity_file),
        read_token_keys(section.token_keys_file),
        next_epoch(section.state_file),
    )


async def _serve(settings: Settings, boot: _Boot) -> None:
    section, description, identity = settings.node, boot.description, boot.identity
    ledger = Ledger(section.ledger_file)
    metrics, readiness = Metrics("node"), Readiness()
    probes = ProbeServer(section.http, metrics, readiness) if section.http else None
    if probes is not None:
        probes.start()
    memory = Memory(description.state_bytes)
    store = VersionStore(memory)
    metrics.gauge("qmesh_node_state_bytes", "Bytes of amplitudes stored").set_function(lambda: memory.used)
    tokens, limits = TokenChecker(boot.token_keys), Limits(dense_qubits=section.dense_qubits)
    runtimes, directory = PeersFile(section.runtime_peers_file), Directory()
    registries = {text.rpartition("/p2p/")[2] for text in section.registries}

    def admits(peer_id: str) -> bool:
        return peer_id in registries or peer_id in runtimes or peer_id in directory.nodes

    async with open_host(identity, [section.fabric], admits=admits, pubsub="publish") as host:
        service = NodeService(
            signer=identity,
            memory=memory,
            store=store,
            tokens=tokens,
            source=PulledStates(host),
            journal=ledger,
            offers={
                offer.service_type: Offer(offer.qubit_min, offer.qubit_max, frozenset(offer.gate_set))
                for offer in description.services
            },
            concurrency=description.concurrency,
            limits=limits,
            behaviour=_behaviour(description),
            epoch=boot.epoch,
        )

        def on_ready() -> None:
            if not readiness.ready:
                readiness.on()
                ports: dict[str, object] = {"fabric": host.listen_addrs()[0].split("/")[4]}
                if probes is not None:
                    ports["http"] = probes.address
                write_ready(settings.ready_file, ports)

        def on_waiting(reason: str) -> None:
            if not readiness.ready:
                readiness.off(reason)

        fabric = NodeFabric(
            host=host,
            identity=identity,
            service=service,
            memory=memory,
            store=store,
            states=OpenedStates(store, tokens, runtimes.__contains__),
            comparisons=OpenedOverlaps(store, memory, limits),
            description=description,
            dense_qubits=section.dense_qubits,
            runtimes=runtimes,
            directory=directory,
            registries=section.registries,
            advertised=list(section.advertise) or host.listen_addrs(),
            pool_token=section.pool_token.get_secret_value() if section.pool_token else "",
            on_ready=on_ready,
            on_waiting=on_waiting,
        )
        log.info("listening", addresses=host.listen_addrs(), epoch=service.epoch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fabric.run)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    break
            readiness.off("draining")
            service.draining = True
            with trio.move_on_after(section.drain):
                await service.idle()
            nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(ledger.close)
    log.info("stopped")


def main() -> None:
    """Runs a node until it is asked to stop."""
    settings = load(Settings)
    logs.configure("node", level=settings.log.level)
    try:
        boot = _read(settings.node)
    except ValueError as error:
        sys.stderr.write(f"configuration: {error}\n")
        sys.exit(_EX_CONFIG)
    try:
        trio.run(_serve, settings, boot)
    except* ListenError as errors:
        log.critical(str(first_of(errors)))
        sys.exit(1)


if __name__ == "__main__":
    main()
