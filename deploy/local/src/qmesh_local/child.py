"""One child process: started with a parent-death signal, its output in its log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from qmesh_kit.launch import command_line
from qmesh_local.plan import ProcessSpec

EX_CONFIG = 78


class StartError(Exception):
    """A process did not become ready; says which, and what its log ends with.

    Attributes:
        configuration: its settings are at fault.
    """

    def __init__(self, message: str, *, configuration: bool = False) -> None:
        """Takes the sentence for people."""
        super().__init__(message)
        self.configuration = configuration


class Child:
    """A process that the supervisor keeps."""

    def __init__(self, spec: ProcessSpec, log: Path) -> None:
        """Takes the specification and the log's path."""
        self.spec = spec
        self.log = log
        self.state = "stopped"
        self.restarts = 0
        self.started_at: str | None = None
        self.ready_in: float | None = None
        self.wanted = True
        self.reason = ""
        self.recent: list[float] = []
        self._begun = 0.0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Starts the process; readiness is waited for apart."""
        if self.spec.ready_file is not None:
            self.spec.ready_file.unlink(missing_ok=True)
        self.state = "starting"
        self.started_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._begun = time.monotonic()
        argv = command_line(self.spec.argv, user=self.spec.user, ends_with_parent=signal.SIGKILL)
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                env=self.spec.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def ended(self) -> int:
        """Waits for the end of the process."""
        if self._process is None:
            return 0
        return await self._process.wait()

    async def ready(self, timeout_seconds: float) -> None:
        """Waits until the process says that it is ready.

        Raises:
            StartError: it ended before, or took too long.
        """
        path = self.spec.ready_file
        if path is not None:
            deadline = time.monotonic() + timeout_seconds
            while not path.exists():
                if self.pid is None:
                    code = self._process.returncode if self._process is not None else None
                    raise StartError(
                        f"{self.spec.name} ended while starting: {self.last_words()}",
                        configuration=code == EX_CONFIG,
                    )
                if time.monotonic() > deadline:
                    raise StartError(
                        f"{self.spec.name} was not ready after {timeout_seconds:g} s: {self.last_words()}"
                    )
                await asyncio.sleep(0.02)
        self.serves()

    def serves(self) -> None:
        """It is ready."""
        self.ready_in = round(time.monotonic() - self._begun, 3)
        self.state = "running"

    def ports(self) -> dict[str, str]:
        """Where it listens: port or socket by protocol."""
        path = self.spec.ready_file
        if path is None or not path.exists() or self.pid is None:
            return dict(self.spec.ports) if self.pid is not None else {}
        try:
            found = json.loads(path.read_text())["ports"]
        except (ValueError, KeyError):
            return {}  # the process writes it anew just now
        return {str(name): str(value).removeprefix("unix:") for name, value in found.items()}

    async def stop(self, timeout_seconds: float) -> None:
        """Asks the process to end, then makes it."""
        process = self._process
        if process is None or process.returncode is not None:
            self.state = "stopped"
            return
        self.state = "stopping"
        process.send_signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(timeout_seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self.state = "stopped"

    def last_words(self) -> str:
        """The end of its log, for people."""
        if not self.log.exists():
            return "it wrote nothing"
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return _sentence(lines[-1])[:400] if lines else "it wrote nothing"

    def rss(self) -> int:
        """Resident bytes of the process and its children."""
        if self.pid is None:
            return 0
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
            return sum(member.memory_info().rss for member in family)
        except psutil.Error:
            return 0


def _sentence(line: str) -> str:
    """What a line of a log says: the event, and the end of its exception, of a structured one."""
    try:
        entry = json.loads(line)
        event, exception = str(entry["event"]), str(entry.get("exception", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    cause = exception.rstrip(". |").rpartition(" | ")[2].strip()
    return f"{event}: {cause}" if cause else event
