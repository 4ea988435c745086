"""Which processes a local mesh has, with their command lines and environments."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qmesh_local import keys
from qmesh_local.layout import Layout
from qmesh_local.topology import Topology

SERVICES = ("registry", "runtime", "gateway", "planner", "reservation", "analyzer")
"""In the order of their starts: every node waits for the registry, and the runtime takes as long."""
STORES = ("postgres", "nats-server")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How one process is started.

    Attributes:
        name: name in `qmesh status`.
        argv: command line.
        environment: complete environment.
        ready_file: written by the process when it is ready; None for the stores.
        user: numeric user and group, where it must not be ours.
        early: it starts beside PostgreSQL and NATS, not after them.
        stop_signal: signal that asks it to end.
        ports: where it listens, for processes that do not say so themselves.
    """

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    ready_file: Path | None = None
    user: tuple[int, int] | None = None
    early: bool = False
    stop_signal: int = 15
    ports: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What the stores say of themselves once they are prepared."""

    postgres_url: str
    nats_url: str
    nats_token: str


@dataclass(frozen=True, slots=True)
class Ports:
    """The only fixed port is the gateway's; libp2p ports are chosen once and kept, so that addresses last."""

    gateway: int
    registry: int


def base_environment(layout: Layout) -> dict[str, str]:
    """What every process inherits; names of QMESH_, OMP_ and OPENBLAS_ that the caller sets pass through."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV"}
        or name.startswith(("LC_", "QMESH_", "OMP_", "OPENBLAS_"))
    }
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return threads | kept | {"QMESH_HOME": str(layout.home), "PYTHONUNBUFFERED": "1"}


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


class MeshPlan:
    """Makes the specifications of all processes of one mesh."""

    def __init__(self, layout: Layout, topology: Topology, ports: Ports, endpoints: Endpoints) -> None:
        """Takes where things are."""
        self._layout = layout
        self._topology = topology
        self._ports = ports
        self._endpoints = endpoints
        self._base = base_environment(layout)
        self._registry_identity = keys.identity(layout.keys / "registry.key")
        self._runtime_identity = keys.identity(layout.keys / "runtime.key")
        keys.token_key(layout.keys / "token.pem", layout.keys / "token.pub")
        keys.secret(layout.keys / "pool.token")
        (layout.keys / "runtime.peers").write_text(self._runtime_identity.peer_id + "\n")

    def processes(self) -> list[ProcessSpec]:
        """Services and nodes in the order of their starts; the stores are the supervisor's own."""
        return [self._service(name) for name in SERVICES] + [
            self._node(spec.name) for spec in self._topology.nodes
        ]

    def registry_address(self) -> str:
        """Multiaddr of the registry."""
        return f"/ip4/127.0.0.1/tcp/{self._ports.registry}/p2p/{self._registry_identity.peer_id}"

    def _service(self, name: str) -> ProcessSpec:
        layout = self._layout
        section = f"QMESH_{name.upper()}__"
        environment = self._base | {
            "QMESH_READY_FILE": str(layout.ready_file(name)),
            f"{section}LISTEN": layout.socket(name),
            f"{section}HTTP": layout.probe(name),
            f"{section}DRAIN": "3s",
        }
        if name != "analyzer":
            environment |= {
                "QMESH_NATS__URL": self._endpoints.nats_url,
                "QMESH_NATS__TOKEN": self._endpoints.nats_token,
            }
        if name in {"planner", "registry", "reservation", "runtime"}:
            environment |= {
                "QMESH_POSTGRES__URL": self._endpoints.postgres_url,
                "QMESH_POSTGRES__MIGRATE_ON_START": "true",
            }
        own = {
            "gateway": self._gateway,
            "planner": self._planner,
            "registry": self._registry,
            "reservation": self._reservation,
            "runtime": self._runtime,
            "analyzer": self._analyzer,
        }
        environment |= own[name](section)
        return ProcessSpec(
            name,
            _python(f"qmesh_{name}"),
            environment,
            layout.ready_file(name),
            early=name == "analyzer",
        )

    def _targets(self, section: str, *names: str) -> dict[str, str]:
        return {f"{section}{name.upper()}": self._layout.socket(name) for name in names}

    def _gateway(self, section: str) -> dict[str, str]:
        return self._targets(section, "runtime", "planner", "registry", "reservation", "analyzer") | {
            f"{section}PORT": str(self._ports.gateway)
        }

    def _planner(self, section: str) -> dict[str, str]:
        return self._targets(section, "registry")

    def _registry(self, section: str) -> dict[str, str]:
        return {
            f"{section}FABRIC": f"/ip4/127.0.0.1/tcp/{self._ports.registry}",
            f"{section}IDENTITY_FILE": str(self._layout.keys / "registry.key"),
            f"{section}POOL_TOKEN_FILE": str(self._layout.keys / "pool.token"),
        }

    def _reservation(self, section: str) -> dict[str, str]:
        return {f"{section}SIGNING_KEY_FILE": str(self._layout.keys / "token.pem")}

    def _runtime(self, section: str) -> dict[str, str]:
        return self._targets(section, "planner", "registry", "reservation", "analyzer") | {
            f"{section}IDENTITY_FILE": str(self._layout.keys / "runtime.key"),
            f"{section}LEDGER_FILE": str(self._layout.ledger / "runtime.jsonl"),
        }

    def _analyzer(self, section: str) -> dict[str, str]:
        return {f"{section}WORKERS": "1"}

    def _node(self, name: str) -> ProcessSpec:
        layout = self._layout
        section = "QMESH_NODE__"
        environment = self._base | {
            "QMESH_READY_FILE": str(layout.ready_file(name)),
            f"{section}HTTP": layout.probe(name),
            f"{section}FABRIC": "/ip4/127.0.0.1/tcp/0",
            f"{section}IDENTITY_FILE": str(layout.keys / f"{name}.key"),
            f"{section}STATE_FILE": str(layout.keys / f"{name}.epoch"),
            f"{section}DESCRIPTION_FILE": str(layout.run / f"{name}.json"),
            f"{section}REGISTRIES": self.registry_address(),
            f"{section}RUNTIME_PEERS_FILE": str(layout.keys / "runtime.peers"),
            f"{section}TOKEN_KEYS_FILE": str(layout.keys / "token.pub"),
            f"{section}POOL_TOKEN_FILE": str(layout.keys / "pool.token"),
            f"{section}LEDGER_FILE": str(layout.ledger / f"{name}.jsonl"),
        }
        self._describe(name)
        return ProcessSpec(name, _python("qmesh_node"), environment, layout.ready_file(name))

    def _describe(self, name: str) -> None:
        """Writes a node's description; the other ends of its links are named by their peer ids."""
        spec = next(node for node in self._topology.nodes if node.name == name)
        links = []
        for link in self._topology.links:
            if name in {link.a, link.b}:
                other = link.b if name == link.a else link.a
                peer = keys.identity(self._layout.keys / f"{other}.key").peer_id
                links.append(
                    {
                        "peer_id": peer,
                        "pair_fidelity": link.pair_fidelity,
                        "pair_rate_hz": link.pair_rate_hz,
                    }
                )
        path = self._layout.run / f"{name}.json"
        path.write_text(json.dumps(spec.description | {"links": links}, indent=1))
