"""The `qmesh` command: jobs and the mesh over HTTP; the local mesh's commands join by entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer
from typer.exceptions import Abort, TyperException

from qmesh_client import __version__, listing, screen
from qmesh_client import result as results
from qmesh_client.exits import Exit
from qmesh_client.kube import KubeError, Release, open_mesh
from qmesh_client.mesh import TERMINAL, Mesh, MeshAddressError, MeshRefusedError, MeshUnreachableError
from qmesh_client.progress import follow
from qmesh_model.arithmetic import number_of
from qmesh_model.description import describe
from qmesh_model.diagnostics import CircuitError, Diagnostic
from qmesh_model.openqasm import write
from qmesh_model.parameters import ParameterError
from qmesh_model.parser import parse

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Distributed quantum services mesh.",
    pretty_exceptions_enable=False,
)
Strategy = Literal["cost", "ebit", "centralized"]
Precision = Literal["double", "single"]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Job id.")]
_PANEL = "Mesh"
_INTERRUPTED = 130


@dataclass(slots=True)
class Target:
    """Where the mesh is: at an address, or in a release of a cluster."""

    url: str | None = None
    kube: Release | None = None


def _version(*, value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(envvar="QMESH_URL", help="Address of the gateway.")] = None,
    kube: Annotated[
        str | None,
        typer.Option(
            envvar="QMESH_KUBE",
            metavar="[[[CONTEXT/]NAMESPACE/]RELEASE]",
            help="The mesh of a Helm release: forwards a port and reads its key; without a name, the only one there.",
        ),
    ] = None,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of all commands."""
    if kube is not None and _given(context, "url"):
        if _given(context, "kube"):
            raise typer.BadParameter("--url and --kube name a mesh each; give one of them")
        kube = None
    try:
        context.obj = Target(url, None if kube is None else Release.parse(kube))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kube") from None


def _given(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line, and not in the environment."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _mesh(context: typer.Context) -> Mesh:
    if context.obj.kube is not None:
        return context.with_resource(open_mesh(context.obj.kube))
    try:
        return Mesh(context.obj.url)
    except MeshAddressError as error:
        raise typer.BadParameter(f"{error}; see --url, QMESH_URL and QMESH_API_KEY") from None


def emit(document: Any) -> None:
    """Prints one JSON document on stdout."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def read_circuit(file: Path) -> str:
    """Text of a circuit; `-` is standard input."""
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return raw.decode()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file}: byte {error.start} is not UTF-8 text") from None


@app.command(rich_help_panel=_PANEL)
def submit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="OpenQASM file; - is standard input.")],
    shots: Annotated[int, typer.Option(min=1, help="Number of shots.")] = 1024,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; drawn and recorded if absent.")] = None,
    strategy: Annotated[Strategy, typer.Option(help="How qubits are placed.")] = "cost",
    min_fidelity: Annotated[float, typer.Option(min=0, max=1, help="Least acceptable fidelity.")] = 0.8,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds until the job is given up.")] = 300.0,
    idempotency_key: Annotated[str | None, typer.Option(help="Same key, same job.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="Value of an input, as in theta=pi/4; once for each.",
        ),
    ] = None,
    *,
    noise: Annotated[bool, typer.Option("--noise/--ideal", help="Physics of the nodes on or off.")] = False,
    precision: Annotated[Precision, typer.Option(help="Of amplitudes on the nodes.")] = "double",
    watch: Annotated[bool, typer.Option(help="Wait for the end, with live progress.")] = True,
    as_json: AsJson = False,
) -> None:
    """Submit a circuit and show its result."""
    text = read_circuit(file)
    values = _values(parameter or ())
    with _mesh(context) as mesh:
        try:
            job = mesh.submit(
                text,
                parameters=values or None,
                shots=shots,
                seed=seed,
                strategy=strategy,
                min_fidelity=min_fidelity,
                noise=noise,
                precision=precision,
                timeout_s=timeout,
                idempotency_key=idempotency_key,
            )
        except MeshRefusedError as error:
            if error.problem.get("code") == "CIRCUIT_INVALID":
                found = [Diagnostic.of_document(entry) for entry in error.problem.get("errors") or []]
                screen.diagnostics(text, _name(file), found)
                if as_json:
                    emit(error.problem)
                raise typer.Exit(Exit.REFUSED) from None
            raise
        warnings = [Diagnostic.of_document(entry) for entry in job.get("warnings") or []]
        screen.diagnostics(text, _name(file), warnings, style="bold yellow")
        if not watch:
            emit(job) if as_json else typer.echo(job["job_id"])
            return
        try:
            follow(mesh, job["job_id"])
        except KeyboardInterrupt:
            screen.error(f"interrupted; the job goes on, see 'qmesh watch {job['job_id']}'")
            raise typer.Exit(_INTERRUPTED) from None
        _finish(mesh.job(job["job_id"]), as_json=as_json, name=_name(file))


def _values(words: Sequence[str]) -> dict[str, float]:
    """Values of inputs, from `NAME=VALUE`."""
    found: dict[str, float] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip()
        if not (name and equals):
            raise typer.BadParameter(
                f"{word!r} is not NAME=VALUE, as in theta=pi/4", param_hint="--parameter"
            )
        if name in found:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--parameter")
        try:
            found[name] = number_of(value)
        except ParameterError as error:
            raise typer.BadParameter(f"{name}: {error}", param_hint="--parameter") from None
    return found


def _name(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _finish(job: dict[str, Any], *, as_json: bool, name: str = "") -> None:
    emit(job) if as_json else results.show(job, name)
    if job["status"] != "COMPLETED":
        raise typer.Exit(Exit.FAILED)


@app.command(rich_help_panel=_PANEL)
def validate(
    file: Annotated[Path, typer.Argument(help="OpenQASM file; - is standard input.")],
    *,
    openqasm: Annotated[
        bool, typer.Option("--openqasm", help="Print the normal form as OpenQASM 3 instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what the mesh understands of a circuit: drawing, figures, warnings. Needs no mesh."""
    text = read_circuit(file)
    try:
        circuit = parse(text)
    except CircuitError as error:
        if as_json:
            emit({"valid": False, "diagnostics": [item.document() for item in error.diagnostics]})
        else:
            screen.diagnostics(text, _name(file), error.diagnostics)
        raise typer.Exit(Exit.REFUSED) from None
    if as_json:
        emit(describe(circuit))
        return
    if openqasm:
        sys.stdout.write(write(circuit))
    else:
        listing.validation(circuit, describe(circuit), _name(file))
    screen.diagnostics(text, _name(file), circuit.warnings, style="bold yellow")


@app.command(rich_help_panel=_PANEL)
def jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="At most this many.")] = 20,
    status: Annotated[str | None, typer.Option(help="Only in this status.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with _mesh(context) as mesh:
        found = mesh.jobs(limit, status)
    emit({"jobs": found}) if as_json else listing.jobs(found)


@app.command(rich_help_panel=_PANEL)
def job(context: typer.Context, job_id: JobId, *, as_json: AsJson = False) -> None:
    """Show where one job stands."""
    with _mesh(context) as mesh:
        found = mesh.job(job_id, "summary")
    emit(found) if as_json else listing.job(found)


@app.command(rich_help_panel=_PANEL)
def watch(
    context: typer.Context,
    job_id: JobId,
    after: Annotated[int, typer.Option(min=0, help="Only events above this sequence.")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Follow a job until it ends; with --json, its events as one document at the end."""
    with _mesh(context) as mesh:
        seen = follow(mesh, job_id, after)
        status = mesh.job(job_id, "none")["status"]
    if as_json:
        emit({"job_id": job_id, "status": status, "events": seen})
    if status != "COMPLETED":
        raise typer.Exit(Exit.FAILED)


@app.command(rich_help_panel=_PANEL)
def result(
    context: typer.Context,
    job_id: JobId,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the result of a job."""
    with _mesh(context) as mesh:
        found = mesh.job(job_id)
    if found["status"] not in TERMINAL:
        screen.error(f"job {job_id} is {found['status']}; follow it with 'qmesh watch {job_id}'")
        raise typer.Exit(Exit.FAILED)
    _finish(found, as_json=as_json)


@app.command(rich_help_panel=_PANEL)
def cancel(context: typer.Context, job_id: JobId, *, as_json: AsJson = False) -> None:
    """Ask for the end of a job."""
    with _mesh(context) as mesh:
        found = mesh.cancel(job_id)
    emit(found) if as_json else typer.echo(f"{job_id}: cancel asked for")


@app.command(rich_help_panel=_PANEL)
def plan(
    context: typer.Context,
    some_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a plan, or of a job for its last plan.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show a plan: where each block goes, and why."""
    with _mesh(context) as mesh:
        found = _plan(mesh, some_id)
        names = {} if as_json else {s["node_id"]: s["node_name"] for s in mesh.services()["services"]}
    emit(found) if as_json else listing.plan(found, names)


def _plan(mesh: Mesh, some_id: str) -> dict[str, Any]:
    try:
        return mesh.plan(some_id)
    except MeshRefusedError as error:
        if error.problem.get("code") != "NOT_FOUND":
            raise
    plan_id = mesh.job(some_id, "none")["plan_id"]
    if plan_id is None:
        screen.error(f"job {some_id} has no plan yet; follow it with 'qmesh watch {some_id}'")
        raise typer.Exit(Exit.FAILED)
    return mesh.plan(plan_id)


@app.command(rich_help_panel=_PANEL)
def services(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the services of the nodes that live."""
    with _mesh(context) as mesh:
        found = mesh.services()
    emit(found) if as_json else listing.services(found)


@app.command(rich_help_panel=_PANEL)
def topology(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show nodes and measured links."""
    with _mesh(context) as mesh:
        found = mesh.topology()
    emit(found) if as_json else listing.topology(found)


def _join() -> None:
    for entry in entry_points(group="qmesh.commands"):
        register: Callable[[typer.Typer], None] = entry.load()
        register(app)


def _with_kube(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """The words, with an empty value for a `--kube` before a command that has none."""
    found = list(words)
    for place, word in enumerate(words):
        if word in commands:
            break
        following = words[place + 1 : place + 2]
        if word == "--kube" and (not following or following[0] in commands or following[0].startswith("-")):
            found[place] = "--kube="
    return found


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    known: Collection[str] = getattr(command, "commands", {})
    try:
        outcome = command.main(args=_with_kube(words, known), prog_name="qmesh", standalone_mode=False)
    except Abort:
        return _INTERRUPTED
    except TyperException as error:
        if str(error):  # without arguments the help has been printed
            screen.error(f"{error.format_message()}\nSee 'qmesh --help', or 'qmesh COMMAND --help'.")
        return Exit.USAGE
    except KubeError as error:
        screen.error(str(error))
        return error.exit
    except MeshUnreachableError as error:
        screen.error(f"{error}\n{error.remedy}")
        return Exit.UNREACHABLE
    except MeshRefusedError as error:
        screen.refusal(error.problem)
        if "--json" in words:
            emit(error.problem)
        return Exit.REFUSED
    return outcome if isinstance(outcome, int) else Exit.DONE


def main() -> None:
    """Entry point."""
    _join()
    sys.exit(run())
