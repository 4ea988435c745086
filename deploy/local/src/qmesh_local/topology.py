"""Nodes of a local mesh: read from a file, or generated."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
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
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", re.ASCII)
_MOST_QUBITS = 1000
_MOST_NODES = 64
_TOP = {"defaults", "nodes", "links", "link"}
_SHARED = {
    "state_bytes",
    "link_qubits",
    "concurrency",
    "readout_fidelity",
    "memory",
    "behaviour",
    "data_qubits",
}
_SERVICE = {"fidelity", "qubit_min", "qubit_max", "duration"}
_LINK = {"pair_fidelity", "pair_rate_hz"}
_RESERVED = {
    "gateway",
    "planner",
    "registry",
    "reservation",
    "runtime",
    "analyzer",
    "postgres",
    "nats-server",
    "supervisor",
}

Table = Mapping[str, Any]


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


def load(path: Path) -> Topology:
    """Reads a topology file.

    Raises:
        TopologyError: the file is missing, no TOML, or makes no sense.
    """
    return build(_parsed(path))


def generate(count: int, qubits: int, default_file: Path) -> Topology:
    """N nodes of Q data qubits with every service and all-to-all links.

    Raises:
        TopologyError: more or fewer than one machine can carry.
    """
    if not 1 <= count <= _MOST_NODES:
        raise TopologyError(f"--nodes must be 1 to {_MOST_NODES}, not {count}")
    if not 1 <= qubits <= _MOST_QUBITS:
        raise TopologyError(f"--qubits must be 1 to {_MOST_QUBITS}, not {qubits}")
    data = _parsed(default_file)
    data["nodes"] = [{"name": f"node-{number}", "data_qubits": qubits} for number in range(1, count + 1)]
    data["link"] = []
    return build(data)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TopologyError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path}: {error}") from None


def build(data: Table) -> Topology:
    """A topology from parsed TOML.

    Raises:
        TopologyError: it makes no sense.
    """
    _known(data, _TOP, "the file")
    defaults = _table(data.get("defaults", {}), "defaults")
    _known(defaults, _SHARED | {"services"}, "defaults")
    nodes = tuple(_node(defaults, node) for node in _tables(data.get("nodes", ()), "nodes"))
    if not nodes:
        raise TopologyError("a topology needs at least one node: [[nodes]]")
    names = [node.name for node in nodes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TopologyError(f"two nodes have the name {twice!r}")
    return Topology(nodes, tuple(_links(data, names)))


def _links(data: Table, names: list[str]) -> list[LinkSpec]:
    common = _table(data.get("links", {}), "links")
    _known(common, _LINK, "links")
    special: dict[frozenset[str], Table] = {}
    for link in _tables(data.get("link", ()), "link"):
        _known(link, _LINK | {"between"}, "link")
        ends = link.get("between")
        if not isinstance(ends, list) or len(set(map(str, ends))) != 2:  # noqa: PLR2004 - a link has two ends
            raise TopologyError(f"link: between should be two nodes, not {ends!r}")
        unknown = next((end for end in ends if end not in names), None)
        if unknown is not None:
            raise TopologyError(f"link: there is no node {unknown!r}")
        special[frozenset(ends)] = link
    return [_link(a, b, {**common, **special.get(frozenset((a, b)), {})}) for a, b in combinations(names, 2)]


def _link(a: str, b: str, merged: Table) -> LinkSpec:
    where = f"link {a} - {b}"
    return LinkSpec(
        a,
        b,
        _number(merged.get("pair_fidelity", 1.0), f"{where}: pair_fidelity", 0.25, 1.0),
        _number(merged.get("pair_rate_hz", 1000.0), f"{where}: pair_rate_hz", 1e-3, 1e12),
    )


def _node(defaults: Table, node: Table) -> NodeSpec:
    name = node.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TopologyError(f"a node's name should be like 'alice', not {name!r}")
    if name in _RESERVED:
        raise TopologyError(f"a node cannot have the name {name!r}, which another process has")
    _known(node, _SHARED | {"name", "without", "fidelity"}, name)
    merged = {**defaults, **node}
    if "data_qubits" not in merged:
        raise TopologyError(f"{name}: data_qubits is missing")
    qubits = _whole(merged["data_qubits"], f"{name}: data_qubits", 1, _MOST_QUBITS)
    memory = _table(merged.get("memory", {}), f"{name}: memory")
    _known(memory, {"t1", "t2"}, f"{name}: memory")
    description = {
        "name": name,
        "services": _services(defaults, node, name),
        "data_qubits": qubits,
        "link_qubits": _whole(merged.get("link_qubits", 2), f"{name}: link_qubits", 0, _MOST_QUBITS),
        "state_bytes": _quantity(merged.get("state_bytes", "1GiB"), _SIZE, f"{name}: state_bytes"),
        "concurrency": _whole(merged.get("concurrency", 4), f"{name}: concurrency", 1, 256),
        "t1_ns": _quantity(memory.get("t1", "0s"), _TIME, f"{name}: memory.t1"),
        "t2_ns": _quantity(memory.get("t2", "0s"), _TIME, f"{name}: memory.t2"),
        "readout_fidelity": _number(
            merged.get("readout_fidelity", 1.0), f"{name}: readout_fidelity", 0.5, 1.0
        ),
        "behaviour": dict(_table(merged.get("behaviour", {}), f"{name}: behaviour")),
    }
    return NodeSpec(name, qubits, description)


def _services(defaults: Table, node: Table, where: str) -> list[dict[str, Any]]:
    without = node.get("without", [])
    if not isinstance(without, list):
        raise TopologyError(f"{where}: without should be a list of services")
    own = _table(node.get("fidelity", {}), f"{where}: fidelity")
    offered = _table(defaults.get("services", {}), "defaults.services")
    for name in (*without, *own, *offered):
        if name not in SERVICES:
            raise TopologyError(f"{where}: there is no service {name!r}; there are: {', '.join(SERVICES)}")
    offers = []
    for name in offered:
        if name in without:
            continue
        title = f"service {name}"
        service = _table(offered[name], title)
        _known(service, _SERVICE, title)
        least = _whole(service.get("qubit_min", 1), f"{title}: qubit_min", 1, _MOST_QUBITS)
        offers.append(
            {
                "service_type": name,
                "fidelity": _number(
                    own.get(name, service.get("fidelity", 1.0)), f"{where}: fidelity of {name}", 0.0, 1.0
                ),
                "qubit_min": least,
                "qubit_max": _whole(
                    service.get("qubit_max", max(2, least)), f"{title}: qubit_max", least, _MOST_QUBITS
                ),
                "duration_ns": _quantity(service.get("duration", "10us"), _TIME, f"{title}: duration"),
            }
        )
    return offers


def _known(found: Table, names: set[str], where: str) -> None:
    odd = next((name for name in found if name not in names), None)
    if odd is not None:
        raise TopologyError(f"{where}: there is no field {odd!r}; there are: {', '.join(sorted(names))}")


def _table(value: object, where: str) -> Table:
    if not isinstance(value, dict):
        raise TopologyError(f"{where} should be a table, not {value!r}")
    return value


def _tables(value: object, where: str) -> list[Table]:
    if not isinstance(value, list | tuple):
        raise TopologyError(f"{where} should be written [[{where}]]")
    return [_table(item, where) for item in value]


def _whole(value: object, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise TopologyError(f"{where} should be a whole number from {least} to {most}, not {value!r}")
    return value


def _number(value: object, where: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise TopologyError(f"{where} should be a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def _quantity(value: object, units: dict[str, int], where: str) -> int:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise TopologyError(f"{where}: {value!r} should be a number with a unit out of {', '.join(units)}")
    return round(float(match[1]) * units[match[2]])
