import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from qmesh_kit.servers import PostgresServer
from qmesh_local.control import ask
from qmesh_local.layout import Layout

_SCRIPT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest as lab
from qmesh_local.layout import Layout
from qmesh_local.supervisor import Supervisor, main_report
layout = Layout(Path({home!r}))
specs = [lab.spec(layout, name) for name in ("gateway", "alice")]
asyncio.run(Supervisor(layout, lambda ports, endpoints: specs, {port}, main_report).run())
"""


def _supervisor(layout: Layout, port: int) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A supervisor in a process of its own, and the pids of what it started."""
    script = _SCRIPT.format(tests=str(Path(__file__).parent), home=str(layout.home), port=port)
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 40
    while not layout.mesh_file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    document = ask(layout, "status")["status"]
    return process, [p["pid"] for p in document["processes"] if p["name"] != "supervisor"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_every_process(layout: Layout, free_port: int, lab: ModuleType, number: int) -> None:
    """Ctrl-C, a polite kill and a closed terminal end the whole mesh, with exit code 0."""
    supervisor, pids = _supervisor(layout, free_port)
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert not any(map(lab.alive, pids))


def test_kill_of_the_supervisor_ends_every_process_and_a_new_start_has_the_data(
    layout: Layout, free_port: int, lab: ModuleType
) -> None:
    """`kill -9` leaves no orphan; the next start takes the home over with what the stores had committed."""
    supervisor, pids = _supervisor(layout, free_port)
    url = PostgresServer(layout.postgres).url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('here')")
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait(10)
    lab.wait_gone(pids)
    assert layout.mesh_file.exists()  # the remains, which a new start must not take for readiness
    layout.mesh_file.unlink()
    again, _ = _supervisor(layout, free_port)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("here",)]
    again.terminate()
    assert again.wait(20) == 0
