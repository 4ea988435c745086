"""`qmesh up`, `down`, `status`, `stop`, `start`, `logs`: found by the command line through an entry point."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.text import Text

from qmesh_client import screen
from qmesh_client.exits import Exit
from qmesh_local.control import NotRunningError, ask
from qmesh_local.layout import Layout, default_home
from qmesh_local.topology import Topology, TopologyError, generate, load

DEFAULT_TOPOLOGY = Path(__file__).resolve().parents[2] / "topology.toml"
_DOWN_SECONDS = 30.0
_TAIL_BYTES = 1 << 20

Home = Annotated[
    Path | None, typer.Option("--home", help="State of the mesh (default: QMESH_HOME or .qmesh).")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of the local mesh to the command line."""
    for command in (up, down, status, stop, start, logs):
        app.command(rich_help_panel="Local mesh")(command)


def layout_of(home: Path | None) -> Layout:
    """The paths of the mesh that a command is about."""
    return Layout(home.resolve() if home is not None else default_home())


def fail(message: str, code: int) -> typer.Exit:
    """Says what happened; the exception ends the command."""
    screen.error(message)
    return typer.Exit(code)


def _topology(nodes: int | None, qubits: int, file: Path | None) -> Topology:
    if nodes is not None and file is not None:
        raise TopologyError("give --nodes or --topology, not both")
    if nodes is not None:
        return generate(nodes, qubits, DEFAULT_TOPOLOGY)
    return load(file or DEFAULT_TOPOLOGY)


def _port() -> int:
    value = os.environ.get("QMESH_GATEWAY__PORT", "").strip() or "8080"
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 1 << 16):
        raise fail("QMESH_GATEWAY__PORT should be a port from 1 to 65535", Exit.CONFIG)
    return int(value)


def up(
    nodes: Annotated[int | None, typer.Option(help="Generate N nodes instead of the default four.")] = None,
    qubits: Annotated[int, typer.Option(help="Data qubits of each generated node.")] = 8,
    topology: Annotated[Path | None, typer.Option(help="Topology file.")] = None,
    home: Home = None,
    once: Annotated[
        Path | None, typer.Option(help="Submit this circuit, show its result, stop the mesh.")
    ] = None,
    submit: Annotated[
        Path | None,
        typer.Option(help="Submit this circuit and stay up until Ctrl-C; without a terminal like --once."),
    ] = None,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the mesh is ready.")] = False,
) -> None:
    """Start a local mesh: PostgreSQL, NATS, six services and the nodes, as processes."""
    from qmesh_local import foreground

    if sum((detach, once is not None, submit is not None)) > 1:
        raise typer.BadParameter("give one of --once, --submit and --detach")
    layout = layout_of(home)
    try:
        chosen = _topology(nodes, qubits, topology)
    except TopologyError as error:
        raise fail(str(error), Exit.USAGE) from None
    port = _port()
    try:
        ask(layout, "status", timeout_seconds=5)
    except NotRunningError:
        pass
    else:
        message = f"a mesh already runs in {layout.home}; see 'qmesh status'"
        if once is not None or submit is not None:
            raise fail(f"{message}, or submit to it with 'qmesh submit'", Exit.FAILED)
        screen.err().print(Text(message))
        return
    layout.make()
    options = ["--home", str(layout.home)]
    options += ["--nodes", str(nodes), "--qubits", str(qubits)] if nodes is not None else []
    options += ["--topology", str(topology.resolve())] if topology is not None else []
    circuit = once or submit
    if circuit is not None:
        stay = submit is not None and sys.stdin.isatty() and sys.stdout.isatty()
        raise typer.Exit(foreground.submit(layout, options, circuit, stay=stay))
    if detach:
        foreground.detach(layout, options)
        return
    foreground.supervise(layout, chosen, port)


def down(home: Home = None) -> None:
    """Stop the local mesh; its data stays."""
    layout = layout_of(home)
    try:
        ask(layout, "down")
    except NotRunningError as error:
        screen.err().print(Text(str(error)))
        return
    wait_down(layout)


def wait_down(layout: Layout) -> None:
    """Returns when the supervisor has ended.

    Raises:
        typer.Exit: it did not in time.
    """
    from qmesh_local.lock import HeldError, held

    try:
        with held(layout.run / "supervisor.lock", _DOWN_SECONDS):
            return
    except HeldError:
        raise fail(f"the mesh did not stop within {_DOWN_SECONDS:g} s", Exit.FAILED) from None


def status(home: Home = None, *, as_json: AsJson = False) -> None:
    """List the processes of the local mesh."""
    layout = layout_of(home)
    try:
        document = ask(layout, "status")["status"]
    except NotRunningError as error:
        if as_json:
            typer.echo(orjson.dumps({"state": "stopped", "gateway_url": None, "processes": []}).decode())
            raise typer.Exit(Exit.UNREACHABLE) from None
        raise fail(str(error), Exit.UNREACHABLE) from None
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(document, layout)


def _show(document: dict[str, Any], layout: Layout) -> None:
    console = screen.out()
    processes = document["processes"]
    alive = sum(1 for process in processes if process["pid"] is not None)
    console.print(
        Text.assemble(
            "local mesh ",
            (document["state"], "bold"),
            f", gateway {document['gateway_url']}, {alive} processes",
        )
    )
    console.print()
    right = ("pid", "RSS", "restarts")
    made = screen.table("process", "pid", "state", "RSS", "restarts", "port or socket", right=right)
    made.columns[-1].no_wrap = False
    folder = f"{layout.sockets}/"
    for process in processes:
        state = process["state"]
        made.add_row(
            process["name"],
            str(process["pid"] or "-"),
            Text(state, style="green" if state == "running" else "yellow"),
            f"{process['rss_bytes'] / 2**20:.0f} MiB",
            str(process["restarts"]),
            ", ".join(f"{name} {value.removeprefix(folder)}" for name, value in process["ports"].items())
            or "-",
        )
    console.print(made)
    console.print()
    console.print(Text(f"sockets in {folder}", style="dim"))
    for process in processes:
        if process["state"] != "running" and process["reason"]:
            console.print(Text(f"{process['name']}: {process['reason']}", style="yellow"))


def _one(verb: str, process: str, home: Path | None) -> None:
    try:
        answer = ask(layout_of(home), verb, process)
    except NotRunningError as error:
        raise fail(str(error), Exit.UNREACHABLE) from None
    if not answer["ok"]:
        raise fail(str(answer["error"]), Exit.FAILED)


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


def tail(path: Path, lines: int) -> str:
    """Last lines of a log."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def logs(
    process: Annotated[str | None, typer.Argument(help="Name as in 'qmesh status'; all without it.")] = None,
    home: Home = None,
    lines: Annotated[int, typer.Option("-n", min=1, help="Lines from the end.")] = 50,
    *,
    follow: Annotated[bool, typer.Option("-f", help="Go on as the log grows.")] = False,
) -> None:
    """Show logs."""
    layout = layout_of(home)
    found = {path.stem: path for path in sorted(layout.logs.glob("*.log"))}
    if not found or (process is not None and process not in found):
        known = f"; there are: {', '.join(found)}" if found else ""
        raise fail(f"there is no log of {process or 'any process'} in {layout.logs}{known}", Exit.USAGE)
    paths = [found[process]] if process is not None else list(found.values())
    for path in paths:
        if len(paths) > 1:
            typer.echo(f"==> {path.stem} <==")
        typer.echo(tail(path, lines))
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
