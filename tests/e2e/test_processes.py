"""Which processes a mesh has, and what each of them has loaded."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from qmesh_kit.ports import free_port
from tests.mesh import AnyMesh, LocalMesh, local_mesh

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(240)]

_SERVICES = ("gateway", "planner", "registry", "reservation", "runtime", "analyzer")
_NODES = ("alice", "bob", "carol", "dave")
_QISKIT = ("qiskit/_accelerate", "qiskit_aer")
_LIBP2P = ("coincurve", "fastecdsa")


def _mapped(pid: int) -> str:
    """Shared objects of a process and of its workers."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return "\n".join(Path(f"/proc/{process.pid}/maps").read_text() for process in processes)


@pytest.mark.parametrize("name", [*_SERVICES, "node"])
def test_entry_point_imports_only_what_its_role_needs(name: str) -> None:
    """Importing a process's entry point loads Qiskit in the analyzer only, libp2p in registry, runtime and node only."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, qmesh_{name}.__main__; print(*sys.modules)"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    packages = {module.partition(".")[0] for module in done.stdout.split()}
    wants_libp2p = name in {"registry", "runtime", "node"}
    assert {"libp2p", "trio"} <= packages if wants_libp2p else packages.isdisjoint({"libp2p", "trio"})
    foreign = {
        "qiskit": name == "analyzer",
        "qiskit_aer": name == "analyzer",
        "fastapi": name == "gateway",
        "pytest": False,
    }
    assert {package for package in foreign if package in packages} <= {
        p for p, wanted in foreign.items() if wanted
    }


def test_status_lists_every_process(mesh: LocalMesh) -> None:
    """`qmesh status` lists at least 13 processes with pid, address, state and memory, and the kernel agrees."""
    processes = mesh.processes()
    assert set(processes) == {*_SERVICES, *_NODES, "postgres", "nats-server", "supervisor"}
    for name, process in processes.items():
        assert process["state"] == "running", name
        assert process["rss_bytes"] > 1 << 20, name
        assert process["ports"], name
        command = " ".join(psutil.Process(process["pid"]).cmdline())
        expected = {"supervisor": "qmesh", "nats-server": "nats-server"}.get(name, name)
        assert expected in command or (name in _NODES and "qmesh_node" in command), command


def test_processes_load_only_what_their_role_needs(mesh: LocalMesh) -> None:
    """No Qiskit outside of the analyzer, no libp2p outside of registry, runtime and node, in the running processes."""
    mesh.run("seed.qasm", shots=16)
    for name, process in mesh.processes().items():
        if name in {"postgres", "nats-server", "supervisor"}:
            continue
        maps = _mapped(process["pid"])
        assert any(part in maps for part in _QISKIT) == (name == "analyzer"), f"Qiskit in {name}"
        wants_libp2p = name in {"registry", "runtime", *_NODES}
        assert any(part in maps for part in _LIBP2P) == wants_libp2p, f"libp2p in {name}"


def test_every_service_type_is_offered_by_three_nodes(any_mesh: AnyMesh) -> None:
    """The default topology offers each of the eleven service types on at least three nodes."""
    with any_mesh.client() as client:
        offers = client.services()["services"]
    nodes: dict[str, set[str]] = {}
    for offer in offers:
        nodes.setdefault(offer["service_type"], set()).add(offer["node_id"])
    assert len(nodes) == 11
    assert all(len(names) >= 3 for names in nodes.values()), nodes


def test_taken_gateway_port_names_its_owner(mesh: LocalMesh, tmp_path: Path) -> None:
    """A second mesh on the gateway's port does not start, and says who has the port."""
    second = LocalMesh(tmp_path / "home", mesh.port)
    done = second.qmesh("up", "--detach")
    assert done.returncode != 0
    assert str(mesh.port) in done.stderr
    assert str(mesh.processes()["gateway"]["pid"]) in done.stderr


@pytest.mark.parametrize("holder", ["plain socket", "libp2p host"])
def test_taken_libp2p_port_stops_the_process_with_the_reason(tmp_path: Path, holder: str) -> None:
    """A libp2p port that somebody else holds, be it another libp2p host, is an error of that process, with the reason."""
    with local_mesh(tmp_path / "home", free_port(), "--nodes", "1") as mesh:
        port = int(mesh.processes()["registry"]["ports"]["fabric"])
        assert mesh.qmesh("stop", "registry").returncode == 0
        with _held(port, holder):
            done = mesh.qmesh("start", "registry")
            assert done.returncode == 1
            assert f"{port}" in done.stderr
            assert "has this port" in " ".join(done.stderr.split())
            assert mesh.processes()["registry"]["state"] != "running"
        done = mesh.qmesh("start", "registry")
        assert done.returncode == 0, done.stderr
        assert mesh.run("seed.qasm", shots=16)["status"] == "COMPLETED"


@contextmanager
def _held(port: int, holder: str) -> Iterator[None]:
    if holder == "plain socket":
        with socket.create_server(("127.0.0.1", port)):
            yield
        return
    program = [sys.executable, "-m", "tests.e2e.squatter", str(port)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            process.kill()
