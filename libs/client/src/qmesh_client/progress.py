"""Live progress of one job: a bar at a terminal, plain lines elsewhere, both on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from qmesh_client.mesh import Mesh
from qmesh_client.screen import err


def describe(event: Mapping[str, Any]) -> str | None:
    """One line for an event that people want to see; None for the others."""
    kind, cause = event["type"], event["error"] or {"code": "?", "message": ""}
    if kind == "attempt_failed":
        return f"attempt at fragment {event['fragment']} failed: {cause['code']} {cause['message']}"
    if kind == "replanned":
        return "replanned over the nodes that live"
    if kind == "fragment_recovered":
        return f"fragment {event['fragment']} was made again after its state was lost"
    if kind == "analyzed" and event["error"]:
        return f"analysis unavailable: {cause['code']}"
    return None


def follow(mesh: Mesh, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Shows events until the job ends; returns them."""
    console = err()
    seen = []
    with _Bar(console) if console.is_terminal else _Lines(console, job_id) as view:
        for event in mesh.events(job_id, after):
            seen.append(event)
            view.show(event)
    return seen


class _Lines:
    """A line for each status, for logs."""

    def __init__(self, console: Console, job_id: str) -> None:
        self._console = console
        self._job_id = job_id
        self._status = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def show(self, event: Mapping[str, Any]) -> None:
        if event["status"] != self._status:
            self._status = event["status"]
            self._console.print(Text(f"{self._job_id} {self._status}"), soft_wrap=True)
        note = describe(event)
        if note:
            self._console.print(Text(f"  {note}"), soft_wrap=True)


class _Bar:
    """A live bar, gone when the job has ended."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("fragments"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("submitted", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Mapping[str, Any]) -> None:
        progress = event["progress"]
        self._progress.update(
            self._task,
            description=event["status"].lower(),
            completed=progress["completed_fragments"],
            total=progress["total_fragments"] or None,
        )
        note = describe(event)
        if note:
            self._progress.console.print(Text(f"  {note}"))
