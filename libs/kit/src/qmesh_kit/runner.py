"""Start and stop of an asyncio service: signals, readiness, drain, exit codes."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from qmesh_kit import dependencies, logs
from qmesh_kit.errors import is_foreseen
from qmesh_kit.metrics import Metrics
from qmesh_kit.probes import ProbeServer, Readiness
from qmesh_kit.settings import BaseMeshSettings, ServiceSection

Main = Callable[["Service"], Awaitable[None]]
_GLANCE = 0.05
_PAUSE = 0.5
_GARBAGE = 20_000, 20, 20
"""Thresholds of the collector: requests make thousands of objects that no cycle holds."""

log = structlog.get_logger()


class FatalError(Exception):
    """The process cannot go on; says why in one sentence."""


async def attend(
    name: str, service: Service, settings: BaseMeshSettings, main: Callable[[], Awaitable[None]]
) -> None:
    """Waits for what a service needs, then runs it; readiness follows its dependencies meanwhile.

    A start that fails because a dependency is slow or away again is begun anew, for as long as patience lasts.

    Raises:
        FatalError: a dependency was not there within `patience`.
    """
    needs = dependencies.of(name, settings)
    deadline = time.monotonic() + settings.patience
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(dependencies.watch(needs, service.readiness, service.stopping))
            while await _come(needs, service, deadline, settings.patience):
                if await _run(service, main, deadline):
                    break
            watching.cancel()
    finally:
        for need in needs:
            await need.close()


async def _run(service: Service, main: Callable[[], Awaitable[None]], deadline: float) -> bool:
    """Runs a service to its end; False when its start failed for a reason that may pass."""
    try:
        await main()
    except Exception as error:
        over = service.started or service.stopping.is_set() or time.monotonic() > deadline
        if over or not is_foreseen(error):
            raise
        log.warning("the start failed and is begun again", error=repr(_leaf(error)))
        await asyncio.sleep(_PAUSE)
        return False
    return True


async def _come(
    needs: Sequence[dependencies.Dependency], service: Service, deadline: float, patience: float
) -> bool:
    """Waits for all dependencies; False when the service is asked to stop before."""
    while any(need.name in service.readiness.missing or not need.seen for need in needs):
        if service.stopping.is_set():
            return False
        if time.monotonic() > deadline:
            raise FatalError(f"not there after {patience:g} s: {service.readiness.objection()}")
        await asyncio.sleep(_GLANCE)
    return True


def write_ready(path: Path | None, ports: Mapping[str, object]) -> None:
    """Writes the readiness line for whoever started the process."""
    if path is None:
        return
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.write_text(json.dumps({"pid": os.getpid(), "ports": dict(ports)}) + "\n")
    temporary.replace(path)


class Service:
    """What a service's main gets: readiness, metrics, and the wish to stop."""

    def __init__(self, name: str, settings: BaseMeshSettings, section: ServiceSection) -> None:
        """Made by `run_service`."""
        self.name = name
        self.settings = settings
        self.metrics = Metrics(name)
        self.readiness = Readiness()
        self.stopping = asyncio.Event()
        self.started = False
        self._probes = ProbeServer(section.http, self.metrics, self.readiness) if section.http else None
        if self._probes is not None:
            self._probes.start()

    def ready(self, ports: Mapping[str, object]) -> None:
        """The service takes work from now on; what fails later ends it."""
        gc.collect()
        gc.freeze()  # a full collection of what start-up made would stop the loop for tens of milliseconds
        gc.set_threshold(*_GARBAGE)
        self.readiness.on()
        self.started = True
        found = dict(ports)
        if self._probes is not None:
            found["http"] = self._probes.address
        write_ready(self.settings.ready_file, found)

    def stop(self) -> None:
        """Readiness goes off first; the main drains and returns."""
        self.readiness.off("draining")
        self.stopping.set()

    def close(self) -> None:
        """Ends the probes."""
        if self._probes is not None:
            self._probes.stop()


def run_service(name: str, main: Main, settings: BaseMeshSettings, *, section: ServiceSection) -> None:
    """Runs a service until it is asked to stop; ends the process.

    Exit code 0 after a drain, 1 after a fatal error, whose reason is the last line of the log.
    """
    import uvloop

    logs.configure(name, level=settings.log.level)
    log = logs.get(service=name)

    async def body() -> None:
        service = Service(name, settings, section)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        try:
            if settings.patience:
                await attend(name, service, settings, lambda: main(service))
            else:
                await main(service)
        finally:
            service.close()

    try:
        uvloop.run(body())
    except* FatalError as errors:
        log.critical(str(_leaf(errors)))
        sys.exit(1)
    except* Exception as errors:
        log.critical("the service ended by an unexpected error", exc_info=errors)
        log.critical(repr(_leaf(errors)))
        sys.exit(1)
    log.info("stopped")
    sys.exit(0)


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
