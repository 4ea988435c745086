"""What `qmesh up` does in its own process: supervise, or start a supervisor beside itself and work with it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

import orjson
from rich.text import Text

from qmesh_client import screen
from qmesh_client.exits import Exit
from qmesh_kit.launch import command_line
from qmesh_local.child import StartError
from qmesh_local.commands import fail, tail, wait_down
from qmesh_local.control import NotRunningError, ask
from qmesh_local.layout import Layout
from qmesh_local.plan import Endpoints, MeshPlan, Ports, ProcessSpec
from qmesh_local.readiness import plans_over
from qmesh_local.supervisor import Supervisor, main_report
from qmesh_local.topology import Topology

_START_SECONDS = 90.0
_SETTLE_SECONDS = 10.0
_PAUSE = 0.02


def supervise(layout: Layout, topology: Topology, port: int) -> None:
    """Runs the mesh until Ctrl-C, `qmesh down` or a signal."""

    def processes(ports: Ports, endpoints: Endpoints) -> list[ProcessSpec]:
        return MeshPlan(layout, topology, ports, endpoints).processes()

    def settled() -> Awaitable[bool]:
        return plans_over(port, len(topology.nodes), _SETTLE_SECONDS)

    try:
        asyncio.run(Supervisor(layout, processes, port, main_report, settled).run())
    except StartError as error:
        raise fail(str(error), Exit.CONFIG if error.configuration else Exit.FAILED) from None


def detach(layout: Layout, options: list[str]) -> None:
    """Starts a supervisor that goes on alone; returns when the mesh is ready."""
    _background(layout, options, alone=True)
    screen.err().print(Text(f"ready: {_url(layout)}; stop it with 'qmesh down'"))


def submit(layout: Layout, options: list[str], circuit: Path, *, stay: bool) -> int:
    """Starts a mesh, submits one circuit, shows its result; the mesh ends with this process.

    Returns:
        The job's exit code.
    """
    from qmesh_client.cli import read_circuit, run

    if str(circuit) != "-":
        read_circuit(circuit)  # a file that cannot be read is said before anything is started
    screen.err().print(Text(f"starting a local mesh in {layout.home}"))
    supervisor = _background(layout, options, alone=False)
    try:
        url = _url(layout)
        code = run(["--url", url, "submit", str(circuit)])
        if stay:
            _stay(url, supervisor)
        return code
    finally:
        with contextlib.suppress(NotRunningError):
            ask(layout, "down")
        wait_down(layout)


def _stay(url: str, supervisor: subprocess.Popen[bytes]) -> None:
    console = screen.err()
    try:
        console.print(
            Text(f"\ngateway    {url}\ndocuments  {url}/docs\ntopology   {url}/api/v1/discovery/topology")
        )
        console.print(Text("The mesh stays up; try 'qmesh status' in another terminal. Ctrl-C stops it."))
        supervisor.wait()
    except KeyboardInterrupt:
        console.print(Text("\nstopping"))
    else:
        console.print(Text("the mesh was stopped"))


def _url(layout: Layout) -> str:
    return str(orjson.loads(layout.mesh_file.read_bytes())["gateway_url"])


def _background(layout: Layout, options: list[str], *, alone: bool) -> subprocess.Popen[bytes]:
    """Starts a supervisor in a session of its own and waits until the mesh is ready."""
    layout.mesh_file.unlink(missing_ok=True)  # what a killed supervisor left would look like readiness
    log = layout.log("supervisor")
    begin = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "-m", "qmesh_client", "up", *options]
    if not alone:
        command = command_line(command, ends_with_parent=signal.SIGTERM)
    try:
        with log.open("ab") as output:
            supervisor = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
    except OSError as error:
        raise fail(f"the supervisor cannot be started: {error}", Exit.FAILED) from None
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not layout.mesh_file.exists() and supervisor.poll() is None and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    except BaseException:  # also Ctrl-C: a mesh that is half started does not stay
        supervisor.terminate()
        supervisor.wait()
        raise
    code = supervisor.poll()
    if code is not None:
        raise fail(_cause(log, begin), Exit.CONFIG if code == Exit.CONFIG else Exit.FAILED)
    if not layout.mesh_file.exists():
        supervisor.terminate()
        supervisor.wait()
        raise fail(f"the mesh was not ready after {_START_SECONDS:g} s: {tail(log, 1)}", Exit.FAILED)
    return supervisor


def _cause(log: Path, begin: int) -> str:
    """What the supervisor said before it ended."""
    with log.open("rb") as file:
        file.seek(begin)
        said = file.read().decode("utf-8", "replace").strip().splitlines()
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return errors[-1] if errors else "the supervisor ended: " + " / ".join(said[-3:])
