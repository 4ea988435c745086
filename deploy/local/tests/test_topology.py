import tomllib
from pathlib import Path
from typing import Any

import pytest

from qmesh_local.commands import DEFAULT_TOPOLOGY
from qmesh_local.topology import SERVICES, TopologyError, build, generate, load

NODE = '[[nodes]]\nname = "a"\ndata_qubits = 4\n'


def test_default_topology_has_four_nodes_and_every_service_three_times() -> None:
    """The default mesh has 6, 5, 4 and 4 data qubits, different links, and each service on at least three nodes."""
    topology = load(DEFAULT_TOPOLOGY)
    assert [node.data_qubits for node in topology.nodes] == [6, 5, 4, 4]
    for service in SERVICES:
        offering = [
            n for n in topology.nodes if any(o["service_type"] == service for o in n.description["services"])
        ]
        assert len(offering) >= 3, service
    assert len(topology.links) == 6
    assert len({(link.pair_fidelity, link.pair_rate_hz) for link in topology.links}) > 1


@pytest.mark.parametrize("count", [1, 2, 6])
def test_generated_nodes_offer_everything_to_all(count: int) -> None:
    """N nodes of Q qubits have every service, and every pair a link."""
    topology = generate(count, 12, DEFAULT_TOPOLOGY)
    assert [node.data_qubits for node in topology.nodes] == [12] * count
    assert all(len(node.description["services"]) == len(SERVICES) for node in topology.nodes)
    assert len(topology.links) == count * (count - 1) // 2


def test_units_become_numbers() -> None:
    """Durations are nanoseconds and sizes bytes in a node's description."""
    text = NODE + 'state_bytes = "64MiB"\nmemory = { t1 = "1.5ms", t2 = "20us" }\n'
    description = build(tomllib.loads(text)).nodes[0].description
    assert (description["state_bytes"], description["t1_ns"], description["t2_ns"]) == (
        64 << 20,
        1_500_000,
        20_000,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one node"),
        ("nodes = 3", "[[nodes]]"),
        ("nodes = [3]", "table"),
        ("[[nodes]]\ndata_qubits = 4", "name"),
        ('[[nodes]]\nname = "A b"', "'A b'"),
        ('[[nodes]]\nname = "runtime"\ndata_qubits = 1', "runtime"),
        ('[[nodes]]\nname = "a"', "a: data_qubits is missing"),
        ('[[nodes]]\nname = "a"\ndata_qubits = 0', "a: data_qubits"),
        ('[[nodes]]\nname = "a"\ndata_qubits = true', "a: data_qubits"),
        (NODE + "data_qubit = 3", "'data_qubit'"),
        (NODE + 'state_bytes = "1 GB"', "a: state_bytes"),
        (NODE + "state_bytes = 5", "a: state_bytes"),
        (NODE + "memory = 3", "a: memory"),
        (NODE + 'memory = { t3 = "1s" }', "'t3'"),
        (NODE + 'without = ["cnott"]', "'cnott'"),
        (NODE + 'without = "cnot"', "list"),
        (NODE + "fidelity = { cnot = 1.5 }\n[defaults.services.cnot]", "fidelity of cnot"),
        (NODE + "fidelity = { cnot = nan }\n[defaults.services.cnot]", "fidelity of cnot"),
        (NODE + "[defaults.services.cnot]\nqubit_min = 3\nqubit_max = 2", "qubit_max"),
        (NODE + "[defaults.services.swap]", "'swap'"),
        (NODE + NODE, "two nodes have the name 'a'"),
        (NODE + '[[link]]\nbetween = ["a", "b"]', "'b'"),
        (NODE + '[[link]]\nbetween = ["a"]', "two nodes"),
        (NODE + "[links]\npair_fidelity = 2", "links"),
        (NODE + "[linkz]", "'linkz'"),
    ],
)
def test_a_topology_that_makes_no_sense_says_where(text: str, words: str) -> None:
    """Every mistake is one sentence that names the node and the field."""
    data = tomllib.loads(text)
    if "pair_fidelity" in text:
        data["nodes"].append({"name": "b", "data_qubits": 1})
        words = "pair_fidelity"
    with pytest.raises(TopologyError) as caught:
        build(data)
    assert words in str(caught.value)


@pytest.mark.parametrize(("count", "qubits"), [(0, 8), (65, 8), (2, 0), (2, 1001)])
def test_too_many_or_too_few_are_refused(count: int, qubits: int) -> None:
    """`--nodes` and `--qubits` have bounds."""
    with pytest.raises(TopologyError, match="must be"):
        generate(count, qubits, DEFAULT_TOPOLOGY)


@pytest.mark.parametrize("content", [None, b"nodes = [", b"\xff"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: Any) -> None:
    """A file that is missing, no TOML or no text is named."""
    path = tmp_path / "mesh.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TopologyError, match=r"mesh\.toml"):
        load(path)
