"""Nodes of a local mesh: read from a file, or generated."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

SERVICES = (
    "bell_pair",
    "cnot",
    "cz",
    "teleportation",
    "syndrome_extraction",
    "distillation",
    "measurement_feedforward",
    "hadamard",
    "qft",
    "controlled_unitary",
    "programmable_gate",
)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TIME = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_SIZE = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


class TopologyError(Exception):
    """A topology file that makes no sense; says which node and field."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What one node is told to be; the JSON of its description file apart from its links."""

    name: str
    data_qubits: int
    description: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A link between two nodes."""

    a: str
    b: str
    pair_fidelity: float
    pair_rate_hz: float


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes and links."""

    nodes: tuple[NodeSpec, ...]
    links: tuple[LinkSpec, ...] = field(default=())


def _quantity(value: object, units: dict[str, int], where: str) -> int:
    match = _QUANTITY.fullmatch(str(value))
    if match is None or match[2] not in units:
        raise TopologyError(f"{where}: {value!r} needs a unit out of {', '.join(units)}")
    return round(float(match[1]) * units[match[2]])


def _services(defaults: dict[str, Any], node: dict[str, Any], where: str) -> list[dict[str, Any]]:
    without = set(node.get("without", ()))
    for name in without | set(node.get("fidelity", {})):
        if name not in SERVICES:
            raise TopologyError(f"{where}: there is no service {name!r}")
    offers = []
    for name, service in defaults.get("services", {}).items():
        if name not in SERVICES:
            raise TopologyError(f"defaults: there is no service {name!r}")
        if name in without:
            continue
        offers.append(
            {
                "service_type": name,
                "fidelity": node.get("fidelity", {}).get(name, service.get("fidelity", 1.0)),
                "qubit_min": service.get("qubit_min", 1),
                "qubit_max": service.get("qubit_max", 2),
                "duration_ns": _quantity(service.get("duration", "10us"), _TIME, f"service {name}"),
            }
        )
    return offers


def _node(defaults: dict[str, Any], node: dict[str, Any]) -> NodeSpec:
    name = str(node.get("name", ""))
    if not _NAME.fullmatch(name):
        raise TopologyError(f"a node's name must be like 'alice', not {name!r}")
    merged = {**defaults, **node}
    qubits = merged.get("data_qubits")
    if not isinstance(qubits, int) or not 1 <= qubits <= 1000:  # noqa: PLR2004 - the circuit bound
        raise TopologyError(f"{name}: data_qubits must be 1 to 1000, not {qubits!r}")
    memory = merged.get("memory", {})
    description = {
        "name": name,
        "services": _services(defaults, node, name),
        "data_qubits": qubits,
        "link_qubits": merged.get("link_qubits", 2),
        "state_bytes": _quantity(merged.get("state_bytes", "1GiB"), _SIZE, name),
        "concurrency": merged.get("concurrency", 4),
        "t1_ns": _quantity(memory.get("t1", "0s"), _TIME, name),
        "t2_ns": _quantity(memory.get("t2", "0s"), _TIME, name),
        "readout_fidelity": merged.get("readout_fidelity", 1.0),
        "behaviour": merged.get("behaviour", {}),
    }
    return NodeSpec(name, qubits, description)


def load(path: Path) -> Topology:
    """Reads a topology file.

    Raises:
        TopologyError: the file is missing, no TOML, or makes no sense.
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise TopologyError(f"{path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"{path}: {error}") from None
    return build(data)


def build(data: dict[str, Any]) -> Topology:
    """A topology from parsed TOML."""
    nodes = tuple(_node(data.get("defaults", {}), node) for node in data.get("nodes", ()))
    if not nodes:
        raise TopologyError("a topology needs at least one node")
    names = [node.name for node in nodes]
    if len(set(names)) < len(names):
        raise TopologyError("two nodes have the same name")
    common = data.get("links", {})
    special = {frozenset(link.get("between", ())): link for link in data.get("link", ())}
    for pair in special:
        if not pair <= set(names):
            raise TopologyError(f"a link is between {sorted(pair)}, which are not all nodes")
    links = tuple(
        LinkSpec(
            a,
            b,
            special.get(frozenset((a, b)), common).get("pair_fidelity", common.get("pair_fidelity", 1.0)),
            special.get(frozenset((a, b)), common).get("pair_rate_hz", common.get("pair_rate_hz", 1000.0)),
        )
        for a, b in combinations(names, 2)
    )
    return Topology(nodes, links)


def generate(count: int, qubits: int, default_file: Path) -> Topology:
    """N nodes of Q data qubits with every service and all-to-all links."""
    if not 1 <= count <= 64:  # noqa: PLR2004 - what one machine can carry
        raise TopologyError(f"--nodes must be 1 to 64, not {count}")
    data = tomllib.loads(default_file.read_text())
    data["nodes"] = [{"name": f"node-{number}", "data_qubits": qubits} for number in range(1, count + 1)]
    data["link"] = []
    return build(data)
