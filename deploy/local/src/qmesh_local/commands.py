"""`qmesh up`, `down`, `status`, `stop`, `start`, `logs`: found by the command line through an entry point."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from qmesh_client.exits import Exit
from qmesh_local.child import StartError
from qmesh_local.control import NotRunningError, ask
from qmesh_local.layout import Layout, default_home
from qmesh_local.supervisor import Supervisor, main_report
from qmesh_local.topology import Topology, TopologyError, generate, load

DEFAULT_TOPOLOGY = Path(__file__).resolve().parents[2] / "topology.toml"
_DETACH_TIMEOUT = 90.0

Home = Annotated[
    Path | None, typer.Option("--home", help="State of the mesh (default: QMESH_HOME or .qmesh).")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of the local mesh to the command line."""
    for command in (up, down, status, stop, start, logs):
        app.command(rich_help_panel="Local mesh")(command)


def _layout(home: Path | None) -> Layout:
    return Layout(home.resolve() if home is not None else default_home())


def _fail(message: str, code: int) -> typer.Exit:
    Console(stderr=True).print(f"[bold red]error:[/] {message}", highlight=False)
    return typer.Exit(code)


def _topology(nodes: int | None, qubits: int, file: Path | None) -> Topology:
    if nodes is not None:
        return generate(nodes, qubits, DEFAULT_TOPOLOGY)
    return load(file or DEFAULT_TOPOLOGY)


def _port() -> int:
    value = os.environ.get("QMESH_GATEWAY__PORT", "8080")
    if not value.isdigit() or not 0 < int(value) < 65536:  # noqa: PLR2004 - TCP ports
        raise _fail("QMESH_GATEWAY__PORT should be a port from 1 to 65535", Exit.CONFIG)
    return int(value)


def up(
    nodes: Annotated[int | None, typer.Option(help="Generate N nodes instead of the default four.")] = None,
    qubits: Annotated[int, typer.Option(help="Data qubits of each generated node.")] = 8,
    topology: Annotated[Path | None, typer.Option(help="Topology file.")] = None,
    home: Home = None,
    once: Annotated[
        Path | None, typer.Option(help="Submit this circuit, show its result, stop the mesh.")
    ] = None,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the mesh is ready.")] = False,
) -> None:
    """Start a local mesh: PostgreSQL, NATS, six services and the nodes, as processes."""
    layout = _layout(home)
    try:
        chosen = _topology(nodes, qubits, topology)
    except TopologyError as error:
        raise _fail(str(error), Exit.USAGE) from None
    try:
        ask(layout, "status", timeout_seconds=5)
    except NotRunningError:
        pass
    else:
        Console(stderr=True).print(
            f"a mesh already runs in {layout.home}; see 'qmesh status'", highlight=False
        )
        return
    layout.make()
    if detach or once is not None:
        _in_background(layout)
        if once is None:
            return
        raise typer.Exit(_once(layout, once))
    supervisor = Supervisor(layout, chosen, _port(), main_report)
    try:
        asyncio.run(supervisor.run())
    except StartError as error:
        raise _fail(str(error), Exit.FAILED) from None


def _in_background(layout: Layout) -> None:
    """Starts a supervisor of its own session with the same arguments, and waits until it is ready."""
    arguments = [a for a in sys.argv[1:] if a not in {"--detach"}]
    if "--once" in arguments:
        index = arguments.index("--once")
        del arguments[index : index + 2]
    with layout.log("supervisor").open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "qmesh_client", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACH_TIMEOUT
    while not layout.mesh_file.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            raise _fail(f"the mesh did not start: {_tail(layout.log('supervisor'), 3)}", Exit.FAILED)
        time.sleep(0.05)


def _once(layout: Layout, file: Path) -> int:
    """Submits one circuit to the running mesh, then stops the mesh."""
    from qmesh_client.cli import run

    mesh = orjson.loads(layout.mesh_file.read_bytes())
    try:
        return run(["--url", mesh["gateway_url"], "submit", str(file)])
    finally:
        _wait_down(layout)


def _wait_down(layout: Layout) -> None:
    try:
        ask(layout, "down")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            ask(layout, "status", timeout_seconds=5)
            time.sleep(0.05)
    except NotRunningError:
        return
    raise _fail("the mesh did not stop within 30 s", Exit.FAILED)


def down(home: Home = None) -> None:
    """Stop the local mesh; its data stays."""
    layout = _layout(home)
    try:
        ask(layout, "status", timeout_seconds=5)
    except NotRunningError:
        Console(stderr=True).print(f"no mesh runs in {layout.home}", highlight=False)
        return
    _wait_down(layout)


def status(home: Home = None, *, as_json: AsJson = False) -> None:
    """List the processes of the local mesh."""
    layout = _layout(home)
    try:
        document = ask(layout, "status")["status"]
    except NotRunningError as error:
        if as_json:
            typer.echo(orjson.dumps({"state": "stopped", "gateway_url": None, "processes": []}).decode())
            raise typer.Exit(Exit.UNREACHABLE) from None
        raise _fail(str(error), Exit.UNREACHABLE) from None
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table(title=f"local mesh: {document['state']}, gateway {document['gateway_url']}")
    for column in ("process", "pid", "state", "port or socket", "RSS", "restarts", "note"):
        table.add_column(column, justify="right" if column in {"pid", "RSS", "restarts"} else "left")
    for process in document["processes"]:
        table.add_row(
            process["name"],
            str(process["pid"] or "-"),
            process["state"],
            ", ".join(f"{k} {v}" for k, v in process["ports"].items()) or "-",
            f"{process['rss_bytes'] / 2**20:.0f} MiB",
            str(process["restarts"]),
            process["reason"][:60] if process["state"] != "running" else "",
        )
    Console().print(table)


def _one(verb: str, process: str, home: Path | None) -> None:
    try:
        answer = ask(_layout(home), verb, process)
    except NotRunningError as error:
        raise _fail(str(error), Exit.UNREACHABLE) from None
    if not answer["ok"]:
        raise _fail(str(answer["error"]), Exit.FAILED)


def stop(
    process: Annotated[str, typer.Argument(help="Name as in 'qmesh status'.")], home: Home = None
) -> None:
    """Stop one process and keep it down."""
    _one("stop", process, home)


def start(
    process: Annotated[str, typer.Argument(help="Name as in 'qmesh status'.")], home: Home = None
) -> None:
    """Start a process that was stopped."""
    _one("start", process, home)


def _tail(path: Path, lines: int) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def logs(
    process: Annotated[str | None, typer.Argument(help="Name as in 'qmesh status'; all without it.")] = None,
    home: Home = None,
    lines: Annotated[int, typer.Option("-n", help="Lines from the end.")] = 50,
    *,
    follow: Annotated[bool, typer.Option("-f", help="Go on as the log grows.")] = False,
) -> None:
    """Show logs."""
    layout = _layout(home)
    paths = [layout.log(process)] if process else sorted(layout.logs.glob("*.log"))
    if not paths or not paths[0].exists():
        raise _fail(f"there is no log of {process or 'any process'} in {layout.logs}", Exit.USAGE)
    for path in paths:
        if len(paths) > 1:
            typer.echo(f"==> {path.stem} <==")
        typer.echo(_tail(path, lines))
    if follow:
        _follow(paths)


def _follow(paths: list[Path]) -> None:
    files = [(path.stem, path.open("rb")) for path in paths]
    for _, file in files:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            quiet = True
            for name, file in files:
                for line in file.readlines():
                    quiet = False
                    prefix = f"{name}: " if len(files) > 1 else ""
                    typer.echo(prefix + line.decode("utf-8", "replace").rstrip("\n"))
            if quiet:
                time.sleep(0.2)
    except KeyboardInterrupt:
        return
    finally:
        for _, file in files:
            file.close()
