import json
import os
import stat
import threading
from pathlib import Path

import pytest

from qmesh_local import keys
from qmesh_local.commands import DEFAULT_TOPOLOGY
from qmesh_local.layout import Layout
from qmesh_local.lock import HeldError, held
from qmesh_local.plan import Endpoints, MeshPlan, Ports
from qmesh_local.ports import choose_port, obstacle
from qmesh_local.topology import load


def test_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    """Keys, logs, ledgers and sockets are not for others."""
    layout = Layout(tmp_path / "home")
    layout.make()
    for path in (layout.run, layout.logs, layout.keys, layout.ledger, layout.sockets):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_sockets_of_a_long_home_are_elsewhere_and_short(tmp_path: Path) -> None:
    """A Unix socket path has at most 107 characters, whatever the home's length."""
    layout = Layout(tmp_path / ("x" * 120))
    assert len(str(layout.control_socket)) < 107
    assert len(layout.probe("reservation").removeprefix("unix:")) < 107
    assert layout.sockets != Layout(tmp_path / ("y" * 120)).sockets


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    """Identities, token keys and secrets survive, and only their owner reads them."""
    token, public = tmp_path / "token.pem", tmp_path / "token.pub"
    first = (keys.secret(tmp_path / "pool"), keys.identity(tmp_path / "a.key").peer_id)
    keys.token_key(token, public)
    raw = public.read_bytes()
    keys.token_key(token, public)
    assert (keys.secret(tmp_path / "pool"), keys.identity(tmp_path / "a.key").peer_id) == first
    assert public.read_bytes() == raw
    assert len(bytes.fromhex(raw.decode())) == 32
    for path in (tmp_path / "pool", token, tmp_path / "a.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_taken_port_names_its_owner(listener: int, free_port: int) -> None:
    """Who listens is named by pid; a free port has no obstacle."""
    assert f"process {os.getpid()}" in str(obstacle(listener))
    assert obstacle(free_port) is None


@pytest.mark.parametrize("memory", ["", "x", "²", "0", "99999999", "-5"])
def test_a_chosen_port_is_kept_whatever_was_remembered(tmp_path: Path, memory: str) -> None:
    """A port is remembered for the next start; what makes no sense is forgotten."""
    path = tmp_path / "port"
    path.write_text(memory)
    chosen = choose_port(path)
    assert choose_port(path) == chosen


def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path, listener: int) -> None:
    """The port of the last start is not insisted upon."""
    path = tmp_path / "port"
    path.write_text(str(listener))
    assert choose_port(path) != listener


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    """A second holder waits for the first, and gives up in time."""
    path = tmp_path / "lock"
    with held(path, 0), pytest.raises(HeldError), held(path, 0.05):
        pass
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with held(path, 0):
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(5)
    leave.set()
    with held(path, 5):
        thread.join(5)
    assert not thread.is_alive()


def test_plan_has_all_processes_and_gives_each_only_what_it_needs(layout: Layout) -> None:
    """Six services and four nodes; secrets by file; the analyzer alone does not wait for the stores."""
    endpoints = Endpoints("postgresql:///x", "nats://127.0.0.1:4222", "token")
    specs = {
        s.name: s for s in MeshPlan(layout, load(DEFAULT_TOPOLOGY), Ports(8080, 4001), endpoints).processes()
    }
    services = {"gateway", "planner", "registry", "reservation", "runtime", "analyzer"}
    assert set(specs) == services | {"alice", "bob", "carol", "dave"}
    assert {name for name, s in specs.items() if s.early} == {"analyzer"}
    for name in ("gateway", "analyzer", "alice"):
        assert "QMESH_POSTGRES__URL" not in specs[name].environment
    for name in ("analyzer", "alice"):
        assert "QMESH_NATS__TOKEN" not in specs[name].environment
    described = json.loads((layout.run / "alice.json").read_text())
    assert len(described["links"]) == 3
    assert described["data_qubits"] == 6
