"""Starts the processes of a local mesh, watches them, restarts what dies, and ends them together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qmesh_kit.servers import NatsServer, PostgresServer, ServerCommand, ServerError
from qmesh_local import keys
from qmesh_local.child import EX_CONFIG, Child, StartError
from qmesh_local.layout import Layout
from qmesh_local.lock import HeldError, held
from qmesh_local.plan import STORES, Endpoints, Ports, ProcessSpec
from qmesh_local.ports import choose_port, obstacle

type Processes = Callable[[Ports, Endpoints], Sequence[ProcessSpec]]

_READY_TIMEOUT = 60.0
_PAUSE = 0.02
_RESTARTS_A_MINUTE = 5
_STOP_TIMEOUT = 8.0
_LAST_HOLDER_SECONDS = 10.0


class Supervisor:
    """One local mesh."""

    def __init__(
        self,
        layout: Layout,
        processes: Processes,
        gateway_port: int,
        report: Callable[[str], None],
        settled: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Takes what to run beside the stores.

        Args:
            layout: where the mesh lives.
            processes: what runs beside the stores.
            gateway_port: the only fixed port.
            report: gets one line for each thing that people should see.
            settled: waits until the mesh as a whole works; False when it took too long.
        """
        self._settled = settled
        self._layout = layout
        self._processes = processes
        self._gateway_port = gateway_port
        self._report = report
        self._children: dict[str, Child] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._state = "starting"
        self._stopping = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.started_in = 0.0

    async def run(self) -> None:
        """Runs the mesh until it is asked to stop.

        Raises:
            StartError: a process did not become ready, or another supervisor has this home.
        """
        try:
            with held(self._layout.run / "supervisor.lock", _LAST_HOLDER_SECONDS):
                await self._run()
        except HeldError:
            raise StartError(f"a mesh already runs in {self._layout.home}; see 'qmesh status'") from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        socket = self._layout.control_socket
        for stale in (socket, self._layout.mesh_file):
            stale.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, str(socket))
        socket.chmod(0o600)
        failure: StartError | None = None
        try:
            async with self._group:
                try:
                    await self._live()
                except StartError as error:
                    failure = error
                finally:
                    self._stopping.set()
                    await self._stop()
        finally:
            server.close()
            self._layout.mesh_file.unlink(missing_ok=True)
            socket.unlink(missing_ok=True)
        if failure is not None:
            raise failure

    async def _live(self) -> None:
        """From the start to the wish to stop."""
        begun = time.monotonic()
        start = asyncio.ensure_future(self._start())
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                return
            start.result()
            self.started_in = time.monotonic() - begun
            self._state = "running"
            self._write_mesh_file()
            self._report(f"ready in {self.started_in:.1f} s: {self._url()}, documents at {self._url()}/docs")
            await stop
        finally:
            for task in (start, stop):
                task.cancel()
            await asyncio.gather(start, stop, return_exceptions=True)

    async def _start(self) -> None:
        problem = obstacle(self._gateway_port)
        if problem is not None:
            raise StartError(
                f"port {self._gateway_port} {problem}; stop that, or set QMESH_GATEWAY__PORT to another port"
            )
        layout = self._layout
        token = keys.secret(layout.keys / "nats.token")
        postgres, nats = PostgresServer(layout.postgres), NatsServer(layout.nats, token=token)
        self._report("starting postgres, nats, services and nodes")
        await _prepared(nats.prepare)
        ports = Ports(self._gateway_port, choose_port(layout.run / "registry.port"))
        endpoints = Endpoints(postgres.url, nats.url, token)
        specs = self._processes(ports, endpoints)
        for name in STORES:  # first in the status, although they may come up later
            self._children[name] = Child(ProcessSpec(name, (), {}), layout.log(name))
        for spec in specs:
            self._children[spec.name] = Child(spec, layout.log(spec.name))
        nats_port = nats.url.rpartition(":")[2]
        stores = (
            self._store("nats-server", nats.command, nats.wait_ready, {"nats": nats_port}),
            self._store(
                "postgres",
                postgres.command,
                postgres.wait_ready,
                {"postgres": postgres.url.partition("host=")[2].partition("&")[0]},
                prepare=postgres.prepare,
            ),
        )
        await _all((*stores, self._launched(spec.name for spec in specs if spec.early)))
        await self._launched(spec.name for spec in specs if not spec.early)
        await _all(self._children[spec.name].ready(_READY_TIMEOUT) for spec in specs)
        for name in self._children:
            self._watch(name)
        if self._settled is not None and not await self._settled():
            self._report("the planner does not know all nodes yet; see 'qmesh topology'")

    async def _store(
        self,
        name: str,
        command: Callable[[], ServerCommand],
        wait_ready: Callable[[float], None],
        ports: dict[str, str],
        *,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts a store; one of a killed supervisor has been ended by its parent-death signal."""
        await _prepared(prepare)
        found = command()
        child = self._children[name]
        child.spec = ProcessSpec(
            name=name,
            argv=tuple(found.argv),
            environment=dict(found.env),
            user=found.user,
            stop_signal=int(found.stop_signal),
            ports=ports,
        )
        await self._launch(child)
        await self._answers(child, wait_ready)
        child.serves()

    @staticmethod
    async def _answers(child: Child, wait_ready: Callable[[float], None]) -> None:
        """Asks a store again and again whether it takes connections, never longer than one try at once."""
        deadline = time.monotonic() + _READY_TIMEOUT
        while True:
            try:
                await asyncio.to_thread(wait_ready, 0.0)
            except ServerError as error:
                if child.pid is None:
                    raise StartError(
                        f"{child.spec.name} ended while starting: {child.last_words()}"
                    ) from None
                if time.monotonic() > deadline:
                    raise StartError(str(error)) from None
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _launched(self, names: Iterable[str]) -> None:
        for name in names:
            await self._launch(self._children[name])

    @staticmethod
    async def _launch(child: Child) -> None:
        try:
            await child.start()
        except OSError as error:
            raise StartError(f"{child.spec.name} cannot be started: {error}") from None

    def _watch(self, name: str) -> None:
        self._keepers[name] = self._group.create_task(self._keep(self._children[name]))

    async def _unwatch(self, name: str) -> None:
        """Ends the keeping of a process, so that only its caller starts or stops it."""
        keeper = self._keepers.pop(name, None)
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})

    async def _keep(self, child: Child) -> None:
        """Restarts a process that dies, at most five times in a minute."""
        while True:
            code = await child.ended()
            now = time.monotonic()
            child.recent = [t for t in child.recent if t > now - 60] + [now]
            child.reason = f"ended with {_ending(code)}: {child.last_words()}"
            if len(child.recent) > _RESTARTS_A_MINUTE or code == EX_CONFIG:
                child.state = "failed"
                self._report(f"{child.spec.name} keeps ending and stays down: {child.reason}")
                return
            self._report(f"{child.spec.name} {child.reason}; restarting")
            child.state = "restarting"
            await asyncio.sleep(min(2.0, 0.1 * 2 ** (len(child.recent) - 1)))
            child.restarts += 1
            try:
                await self._launch(child)
                await child.ready(_READY_TIMEOUT)
            except StartError as error:
                self._report(str(error))
                await child.stop(_STOP_TIMEOUT)  # one that hangs while starting ends, and counts as dead

    async def _stop(self) -> None:
        """Gateway first, then services and nodes, then the stores."""
        self._state = "stopping"
        for name in list(self._keepers):
            await self._unwatch(name)
        middle = [name for name in self._children if name not in {*STORES, "gateway"}]
        for names in (["gateway"], middle, list(STORES)):
            chosen = [self._children[name] for name in names if name in self._children]
            await asyncio.gather(*(child.stop(_STOP_TIMEOUT) for child in chosen))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One command of the control socket: a JSON line in, a JSON line out."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT + _STOP_TIMEOUT):
                request = json.loads(await reader.readline() or b"{}")
                answer = await self._answer(request if isinstance(request, dict) else {})
        except (ValueError, TimeoutError) as error:
            answer = {"ok": False, "error": str(error) or "took too long"}
        with contextlib.suppress(ConnectionError):  # the caller went away
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("verb")
        if verb == "status":
            return {"ok": True, "status": self.status()}
        if verb == "down":
            self._stopping.set()
            return {"ok": True}
        if verb in {"stop", "start"}:
            return await self._switch(str(verb), str(request.get("process", "")))
        return {"ok": False, "error": f"unknown command {verb!r}"}

    async def _switch(self, verb: str, name: str) -> dict[str, Any]:
        if name not in self._children:
            known = ", ".join(self._children)
            return {"ok": False, "error": f"there is no process {name!r}; there are: {known}"}
        if self._state != "running":
            return {"ok": False, "error": f"the mesh is {self._state}"}
        child = self._children[name]
        if verb == "start":
            return await self._start_again(child)
        await self._unwatch(name)
        await child.stop(_STOP_TIMEOUT)
        child.reason = "stopped by 'qmesh stop'"
        return {"ok": True}

    async def _start_again(self, child: Child) -> dict[str, Any]:
        name = child.spec.name
        if child.pid is not None and name in self._keepers:
            return {"ok": True}
        await self._unwatch(name)
        child.recent.clear()
        try:
            await self._launch(child)
            await child.ready(_READY_TIMEOUT)
        except StartError as error:
            await child.stop(_STOP_TIMEOUT)
            child.reason = str(error)
            return {"ok": False, "error": str(error)}
        child.reason = ""
        self._watch(name)
        return {"ok": True}

    def _url(self) -> str:
        return f"http://127.0.0.1:{self._gateway_port}"

    def status(self) -> dict[str, Any]:
        """The document of `qmesh status --json`."""
        own = {
            "name": "supervisor",
            "pid": os.getpid(),
            "state": self._state,
            "ports": {"control": str(self._layout.control_socket)},
            "rss_bytes": _own_rss(),
            "restarts": 0,
            "started_at": self._started_at,
            "ready_in": None,
            "reason": "",
        }
        return {
            "state": self._state,
            "gateway_url": self._url(),
            "started_in": round(self.started_in, 3),
            "processes": [own, *(_described(child) for child in self._children.values())],
        }

    def _write_mesh_file(self) -> None:
        path = self._layout.mesh_file
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(self.status(), indent=1))
        temporary.replace(path)


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all at once; the first error cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _prepared(work: Callable[[], None]) -> None:
    """Blocking work of a store, off the loop."""
    try:
        await asyncio.to_thread(work)
    except (ServerError, OSError) as error:
        raise StartError(str(error)) from None


def _described(child: Child) -> dict[str, Any]:
    return {
        "name": child.spec.name,
        "pid": child.pid,
        "state": child.state,
        "ports": child.ports(),
        "rss_bytes": child.rss(),
        "restarts": child.restarts,
        "started_at": child.started_at,
        "ready_in": child.ready_in,
        "reason": child.reason,
    }


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _own_rss() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def main_report(line: str) -> None:
    """Writes a line for people."""
    sys.stderr.write(f"qmesh: {line}\n")
    sys.stderr.flush()
