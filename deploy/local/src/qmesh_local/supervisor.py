"""Starts the processes of a local mesh, watches them, restarts what dies, and ends them together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qmesh_kit.servers import NatsServer, PostgresServer
from qmesh_local import keys
from qmesh_local.child import Child, StartError
from qmesh_local.layout import Layout
from qmesh_local.plan import Endpoints, MeshPlan, Ports, ProcessSpec
from qmesh_local.ports import choose_port, holder_of
from qmesh_local.topology import Topology

_READY_TIMEOUT = 60.0
_RESTARTS_A_MINUTE = 5
_STOP_TIMEOUT = 8.0


class Supervisor:
    """One local mesh."""

    def __init__(
        self, layout: Layout, topology: Topology, gateway_port: int, report: Callable[[str], None]
    ) -> None:
        """Takes what to run; `report` gets one line for each thing that people should see."""
        self._layout = layout
        self._topology = topology
        self._gateway_port = gateway_port
        self._report = report
        self._children: dict[str, Child] = {}
        self._state = "starting"
        self._stopping = asyncio.Event()
        self._watchers: asyncio.TaskGroup | None = None
        self.failure: str | None = None
        self.started_in = 0.0

    async def run(self) -> None:
        """Runs the mesh until it is asked to stop.

        Raises:
            StartError: a process did not become ready.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        begun = time.monotonic()
        socket = self._layout.control_socket
        socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, str(socket))
        socket.chmod(0o600)
        try:
            async with asyncio.TaskGroup() as self._watchers:
                start = self._watchers.create_task(self._start())
                stop = self._watchers.create_task(self._stopping.wait())
                await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
                if start.done() and start.exception() is None:
                    self.started_in = time.monotonic() - begun
                    self._write_mesh_file()
                    self._state = "running"
                    self._report(f"ready in {self.started_in:.1f} s")
                    await self._stopping.wait()
                start.cancel()
                stop.cancel()
                await self._stop()
        except* StartError as errors:
            await self._stop()
            raise errors.exceptions[0] from None
        finally:
            server.close()
            self._layout.mesh_file.unlink(missing_ok=True)
            socket.unlink(missing_ok=True)

    def stop(self) -> None:
        """Asks the mesh to end."""
        self._stopping.set()

    async def _start(self) -> None:
        self._check_gateway_port()
        endpoints = await self._stores()
        ports = Ports(self._gateway_port, choose_port(self._layout.run / "registry.port"))
        specs = MeshPlan(self._layout, self._topology, ports, endpoints).processes()
        for spec in specs:
            self._children[spec.name] = Child(spec, self._layout.log(spec.name))
        for spec in sorted(specs, key=lambda s: -s.stage):
            await self._launch(self._children[spec.name])
        async with asyncio.TaskGroup() as group:
            for spec in specs:
                group.create_task(self._children[spec.name].ready(_READY_TIMEOUT))
        for spec in specs:
            self._watch(self._children[spec.name])

    def _check_gateway_port(self) -> None:
        owner = holder_of(self._gateway_port)
        if owner is not None:
            raise StartError(
                f"port {self._gateway_port} is taken by {owner}; stop it, or set QMESH_GATEWAY__PORT to another port"
            )

    async def _stores(self) -> Endpoints:
        """Starts PostgreSQL and NATS; an orphan of a killed supervisor is ended by its parent-death signal."""
        layout = self._layout
        token = keys.secret(layout.keys / "nats.token")
        postgres, nats = PostgresServer(layout.postgres), NatsServer(layout.nats, token=token)
        self._report("starting postgres and nats")
        async with asyncio.TaskGroup() as group:
            for server in (postgres, nats):
                group.create_task(asyncio.to_thread(server.prepare))
        for name, server in (("postgres", postgres), ("nats-server", nats)):
            command = server.command()
            spec = ProcessSpec(
                name=name,
                argv=tuple(command.argv),
                environment=dict(command.env),
                user=command.user,
                stop_signal=int(command.stop_signal),
            )
            child = self._children[name] = Child(spec, layout.log(name))
            await self._launch(child)
            await asyncio.to_thread(server.wait_ready)
            child.state = "running"
            self._watch(child)
        return Endpoints(postgres.url, nats.url, token)

    async def _launch(self, child: Child) -> None:
        try:
            await child.start()
        except OSError as error:
            raise StartError(f"{child.spec.name} cannot be started: {error}") from None

    def _watch(self, child: Child) -> None:
        assert self._watchers is not None  # noqa: S101 - only called inside `run`
        self._watchers.create_task(self._keep(child))

    async def _keep(self, child: Child) -> None:
        """Restarts a process that dies, at most five times in a minute."""
        while not self._stopping.is_set():
            code = await child.ended()
            if self._stopping.is_set():
                return
            if not child.wanted:
                child.state = "stopped"
                return
            now = time.monotonic()
            child.recent = [t for t in child.recent if t > now - 60] + [now]
            child.reason = f"ended with {_ending(code)}: {child.last_words()}"
            if len(child.recent) > _RESTARTS_A_MINUTE or code == 78:  # noqa: PLR2004 - EX_CONFIG
                child.state = "failed"
                self._report(f"{child.spec.name} keeps ending and stays down: {child.reason}")
                return
            self._report(f"{child.spec.name} {child.reason}; restarting")
            child.state = "restarting"
            await asyncio.sleep(min(2.0, 0.1 * 2 ** (len(child.recent) - 1)))
            if self._stopping.is_set() or not child.wanted:
                child.state = "stopped"
                return
            child.restarts += 1
            await child.start()
            try:
                await child.ready(_READY_TIMEOUT)
            except StartError as error:
                child.reason = str(error)

    async def _stop(self) -> None:
        """Gateway first, then services and nodes, then the stores."""
        self._state = "stopping"
        stores = {"postgres", "nats-server"}
        for names in (
            ["gateway"],
            [n for n in self._children if n not in stores | {"gateway"}],
            list(stores),
        ):
            chosen = [self._children[name] for name in names if name in self._children]
            await asyncio.gather(*(child.stop(_STOP_TIMEOUT) for child in chosen))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One command of the control socket: a JSON line in, a JSON line out."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT + _STOP_TIMEOUT):
                request = json.loads(await reader.readline() or b"{}")
                answer = await self._answer(request)
        except (ValueError, TimeoutError) as error:
            answer = {"ok": False, "error": str(error) or "took too long"}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        verb, name = request.get("verb"), str(request.get("process", ""))
        if verb == "status":
            return {"ok": True, "status": self.status()}
        if verb == "down":
            self._stopping.set()
            return {"ok": True}
        if name not in self._children:
            return {
                "ok": False,
                "error": f"there is no process {name!r}; there are: {', '.join(self._children)}",
            }
        child = self._children[name]
        if verb == "stop":
            child.wanted = False
            await child.stop(_STOP_TIMEOUT)
            return {"ok": True}
        if verb == "start":
            return await self._start_again(child)
        return {"ok": False, "error": f"unknown command {verb!r}"}

    async def _start_again(self, child: Child) -> dict[str, Any]:
        if child.pid is not None:
            return {"ok": True}
        child.wanted = True
        child.recent.clear()
        try:
            await self._launch(child)
            await child.ready(_READY_TIMEOUT)
        except StartError as error:
            return {"ok": False, "error": str(error)}
        self._watch(child)
        return {"ok": True}

    def status(self) -> dict[str, Any]:
        """The document of `qmesh status --json`."""
        processes = [
            {
                "name": name,
                "pid": child.pid,
                "state": child.state,
                "ports": _ports(child),
                "rss_bytes": child.rss(),
                "restarts": child.restarts,
                "started_at": child.started_at,
                "reason": child.reason,
            }
            for name, child in self._children.items()
        ]
        own = {
            "name": "supervisor",
            "pid": os.getpid(),
            "state": self._state,
            "ports": {"control": str(self._layout.control_socket)},
            "rss_bytes": _own_rss(),
            "restarts": 0,
            "started_at": 0.0,
            "reason": "",
        }
        return {
            "state": self._state,
            "gateway_url": f"http://127.0.0.1:{self._gateway_port}",
            "started_in": round(self.started_in, 3),
            "processes": [own, *processes],
        }

    def _write_mesh_file(self) -> None:
        path = self._layout.mesh_file
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(self.status(), indent=1))
        temporary.replace(path)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _ports(child: Child) -> dict[str, Any]:
    path = child.spec.ready_file
    if path is None or not path.exists():
        return {}
    try:
        ports = json.loads(path.read_text()).get("ports", {})
    except ValueError:
        return {}
    return ports if isinstance(ports, dict) else {}


def _own_rss() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def main_report(line: str) -> None:
    """Writes a line for people."""
    sys.stderr.write(f"qmesh: {line}\n")
    sys.stderr.flush()
