"""Live progress of one job: a bar at a terminal, plain lines elsewhere, both on stderr."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from qmesh_client.mesh import Mesh


def describe(event: dict[str, Any]) -> str | None:
    """One line for an event that people want to see; None for the others."""
    kind, error = event["type"], event["error"]
    if kind == "attempt_failed":
        return f"attempt at fragment {event['fragment']} failed: {error['code']} {error['message']}"
    if kind == "replanned":
        return "replanned over the nodes that live"
    if kind == "fragment_recovered":
        return f"fragment {event['fragment']} was made again after its state was lost"
    if kind == "analyzed" and error:
        return f"analysis unavailable: {error['code']}"
    return None


def follow(mesh: Mesh, job_id: str, after: int = 0) -> str | None:
    """Shows events until the job ends; returns the last status."""
    console = Console(stderr=True)
    return _bar(mesh, job_id, after, console) if console.is_terminal else _lines(mesh, job_id, after, console)


def _lines(mesh: Mesh, job_id: str, after: int, console: Console) -> str | None:
    status = None
    for event in mesh.events(job_id, after):
        if event["type"] == "status" and event["status"] != status:
            console.print(f"{job_id} {event['status']}", highlight=False)
        status = event["status"]
        note = describe(event)
        if note:
            console.print(f"  {note}", highlight=False)
    return status


def _bar(mesh: Mesh, job_id: str, after: int, console: Console) -> str | None:
    status = None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} fragments"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("submitted", total=None)
        for event in mesh.events(job_id, after):
            status = event["status"]
            progress = event["progress"]
            bar.update(
                task,
                description=status.lower(),
                completed=progress["completed_fragments"],
                total=progress["total_fragments"] or None,
            )
            note = describe(event)
            if note:
                bar.console.print(f"  {note}", highlight=False)
    return status
