"""Documents of the mesh as people like to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_BAR = 32
_ROWS = 16


def _out() -> Console:
    return Console(highlight=False)


def error(message: str) -> None:
    """What happened, and what to do next, on stderr."""
    Console(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), message))


def refusal(problem: Mapping[str, Any]) -> None:
    """A problem document."""
    error(f"{problem.get('code', 'REFUSED')}: {problem.get('detail', '')}")
    for entry in problem.get("errors") or []:
        where = entry.get("field") or f"line {entry.get('line')}"
        Console(stderr=True, highlight=False).print(f"  {where}: {entry.get('message')}", markup=False)


def diagnostics(text: str, name: str, problem: Mapping[str, Any]) -> None:
    """Circuit errors with their source lines and carets."""
    console = Console(stderr=True, highlight=False)
    lines = text.splitlines()
    for entry in problem.get("errors") or []:
        line, column = int(entry["line"]), int(entry["column"])
        width = max(1, int(entry.get("end_column") or column + 1) - column)
        source = lines[line - 1] if 0 < line <= len(lines) else ""
        console.print(Text.assemble((f"{entry['code']}: ", "bold red"), entry["message"]))
        console.print(Text(f"  --> {name}:{line}:{column}", style="blue"))
        gutter = " " * len(str(line))
        console.print(Text(f"{gutter} |"))
        console.print(Text(f"{line} | {source}"))
        pad = "".join("\t" if c == "\t" else " " for c in source[: column - 1])
        console.print(Text.assemble(f"{gutter} | {pad}", ("^" * width, "bold red")))
        if entry.get("hint"):
            console.print(Text.assemble((f"{gutter} = hint: ", "cyan"), entry["hint"]))


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _number(value: float) -> str:
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def result(document: Mapping[str, Any], name: str = "") -> None:
    """Result of a job: counts, insight, and who ran what."""
    console = _out()
    status = document["status"]
    colour = "green" if status == "COMPLETED" else "red"
    took = _seconds(document["created_at"], document["updated_at"])
    head = Text.assemble((status, f"bold {colour}"), f"  {name or 'job'} {document['job_id']}")
    console.print(head.append(f"  {took * 1000:.0f} ms" if took is not None else ""))
    if document.get("error"):
        console.print(Text(f"{document['error']['code']}: {document['error']['message']}", style="red"))
    inside = document.get("result")
    if not inside:
        return
    insight = inside["quantum_result"]
    _counts(console, insight)
    _insight(console, insight)
    _fragments(console, inside)
    for failed in inside.get("failed_attempts") or []:
        console.print(Text(f"failed attempt: {failed['code']} {failed['message']}", style="yellow"))
    for warning in inside.get("warnings") or []:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _counts(console: Console, insight: Mapping[str, Any]) -> None:
    counts: dict[str, int] = insight["counts"] or {}
    shots = insight["shots"]
    if not counts:
        return
    table = Table(title=f"counts over {shots} shots", title_justify="left")
    table.add_column("bits")
    table.add_column("count", justify="right")
    table.add_column("measured")
    exact = insight.get("measured_probabilities")
    if exact is not None:
        table.add_column("ideal", justify="right")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for bits, count in ranked[:_ROWS]:
        row = [bits, str(count), "#" * max(1, round(_BAR * count / ranked[0][1]))]
        if exact is not None:
            row.append(_number(exact.get(bits, 0.0)))
        table.add_row(*row)
    console.print(table)
    if len(ranked) > _ROWS:
        console.print(f"... and {len(ranked) - _ROWS} more outcomes")


def _insight(console: Console, insight: Mapping[str, Any]) -> None:
    analysis = insight["analysis"]
    if analysis["status"] == "unavailable":
        console.print(Text(f"analysis: unavailable ({analysis['code']})", style="yellow"))
        return
    top = insight.get("top_basis_states")
    states = insight.get("probabilities") or (
        {entry["basis"]: entry["probability"] for entry in top} if top else {}
    )
    if states:
        ranked = sorted(states.items(), key=lambda item: (-item[1], item[0]))[:8]
        listed = ", ".join(f"{basis}: {_number(p)}" for basis, p in ranked)
        console.print(f"ideal basis probabilities  {listed}{' ...' if len(states) > len(ranked) else ''}")
    _qubits(console, insight)
    fidelity = insight.get("fidelity") or {}
    parts = []
    if fidelity.get("fidelity_to_target_state") is not None:
        parts.append(
            f"to target {_number(fidelity['fidelity_to_target_state'])} ± {_number(fidelity['stderr'] or 0)}"
        )
    if insight.get("conditional_fidelity"):
        parts.append(f"conditional {_number(insight['conditional_fidelity']['value'])}")
    if insight.get("distribution_fidelity"):
        measured = insight["distribution_fidelity"]
        parts.append(
            f"distribution {_number(measured['hellinger'])} (sampling alone: "
            f"{_number(measured['expected_under_sampling'])})"
        )
    if fidelity.get("estimated_execution_fidelity") is not None:
        parts.append(f"estimated {_number(fidelity['estimated_execution_fidelity'])}")
    if parts:
        console.print(f"fidelity  {', '.join(parts)}")
    for field, reason in (insight.get("reasons") or {}).items():
        console.print(Text(f"{field}: {reason}", style="dim"))


def _qubits(console: Console, insight: Mapping[str, Any]) -> None:
    bloch: Mapping[str, Sequence[float]] = insight.get("bloch_vectors") or {}
    if not bloch:
        return
    entropy = insight.get("entanglement_entropy") or {}
    table = Table(title="ideal state, qubit by qubit", title_justify="left")
    for column in ("qubit", "<Z>", "Bloch vector", "entanglement"):
        table.add_column(column)
    for qubit, vector in list(bloch.items())[:_ROWS]:
        bits = entropy.get(f"{qubit}|rest")
        table.add_row(
            qubit,
            _number(vector[2]),
            "(" + ", ".join(_number(v) for v in vector) + ")",
            f"{_number(bits)} bit" if bits is not None else "-",
        )
    console.print(table)


def _fragments(console: Console, inside: Mapping[str, Any]) -> None:
    fragments = inside["fragment_results"]
    ebits = inside["ebits"]["total"]
    nodes = {f["node_name"] or f["node_id"] for f in fragments}
    title = f"{len(fragments)} fragments on {len(nodes)} node(s), {ebits} e-bit(s)"
    table = Table(title=title, title_justify="left")
    for column in ("fragment", "service", "qubits", "node", "block", "attempts", "observed fidelity"):
        table.add_column(column, justify="right" if column in {"block", "attempts"} else "left")
    for fragment in fragments[:40]:
        table.add_row(
            fragment["fragment_id"],
            fragment["service_type"] or "",
            ", ".join(f"q{q}" for q in fragment["qubits"]),
            fragment["node_name"] or fragment["node_id"][-8:],
            str(fragment["block_id"]),
            str(len(fragment["attempts"])),
            f"{fragment['observed_fidelity']:.4f} ({fragment['fidelity_source']})",
        )
    console.print(table)
    if len(fragments) > 40:  # noqa: PLR2004 - what fits on a screen
        console.print(f"... and {len(fragments) - 40} more fragments ('qmesh result ID --json' has all)")


def validation(document: Mapping[str, Any], name: str) -> None:
    """A valid circuit."""
    console = _out()
    console.print(
        Text.assemble(
            ("valid", "bold green"),
            f"  {name}: {document['qubits']} qubits, {len(document['operations'])} operations",
        )
    )
    for key, value in document["statistics"].items():
        console.print(f"  {key}: {value}")


def jobs(found: Sequence[Mapping[str, Any]]) -> None:
    """Jobs."""
    table = Table()
    for column in ("job", "status", "shots", "fragments", "submitted", "error"):
        table.add_column(column)
    for item in found:
        progress = item["progress"]
        table.add_row(
            item["job_id"],
            item["status"],
            str(item["shots"]),
            f"{progress['completed_fragments']}/{progress['total_fragments']}",
            item["created_at"],
            (item["error"] or {}).get("code", ""),
        )
    _out().print(table)


def job(item: Mapping[str, Any]) -> None:
    """Where one job stands."""
    console = _out()
    progress = item["progress"]
    console.print(f"{item['job_id']}  {item['status']}")
    console.print(
        f"fragments {progress['completed_fragments']}/{progress['total_fragments']}, shots {item['shots']}, "
        f"seed {item['seed']}, strategy {item['strategy']}, noise {'on' if item['noise'] else 'off'}"
    )
    console.print(f"submitted {item['created_at']}, last event {item['progress']['latest_event_at']}")
    console.print(f"plans {', '.join(item['plans']) or '-'}")
    if item["error"]:
        console.print(Text(f"{item['error']['code']}: {item['error']['message']}", style="red"))


def plan(document: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """A plan: blocks, nodes and scores."""
    console = _out()
    ebits = document["ebits"]
    console.print(
        f"plan {document['plan_id']}  strategy {document['strategy']}, {len(document['fragments'])} fragments in "
        f"{len(document['blocks'])} blocks, {ebits['total']} e-bits, predicted fidelity "
        f"{document['predicted_fidelity']:.4f}"
    )
    table = Table()
    for column in (
        "block",
        "stage",
        "fragments",
        "node",
        "latency",
        "risk",
        "e-bits",
        "load",
        "total",
        "fallbacks",
    ):
        table.add_column(column, justify="left" if column in {"node", "fallbacks"} else "right")
    for block, assignment in zip(document["blocks"], document["assignments"], strict=True):
        first = assignment["candidates"][0]
        score = first["score"]
        rest = [names.get(c["node_id"], c["node_id"][-8:]) for c in assignment["candidates"][1:]]
        table.add_row(
            str(block["block_id"]),
            str(block["stage"]),
            str(len(block["fragments"])),
            names.get(first["node_id"], first["node_id"][-8:]),
            *(str(score[k]) for k in ("latency", "failure_risk", "entanglement", "load", "total")),
            ", ".join(rest) or "-",
        )
    console.print(table)


def services(document: Mapping[str, Any]) -> None:
    """Services by node."""
    table = Table(title=f"snapshot {document['snapshot_id'][:12]}", title_justify="left")
    for column in ("service", "node", "fidelity", "operands", "availability"):
        table.add_column(column)
    for item in sorted(document["services"], key=lambda s: (s["service_type"], s["node_name"])):
        table.add_row(
            item["service_type"],
            item["node_name"],
            f"{item['fidelity']:.4f}",
            f"{item['qubit_min']}-{item['qubit_max']}",
            item["availability"],
        )
    _out().print(table)


def topology(document: Mapping[str, Any]) -> None:
    """Nodes and links."""
    console = _out()
    names = {p["peer_id"]: p["name"] for p in document["peers"]}
    table = Table(title="nodes", title_justify="left")
    for column in ("node", "health", "tier", "data qubits", "services", "peer id"):
        table.add_column(column)
    for item in document["peers"]:
        table.add_row(
            item["name"],
            item["health_status"],
            item["trust_tier"],
            str(item["capacity"]["data_qubits"]),
            str(len(item["services"])),
            item["peer_id"],
        )
    console.print(table)
    links = Table(title="links", title_justify="left")
    for column in ("between", "round trip", "pair fidelity", "pairs/s"):
        links.add_column(column)
    for item in document["links"]:
        links.add_row(
            f"{names.get(item['a'], item['a'][-8:])} - {names.get(item['b'], item['b'][-8:])}",
            f"{item['rtt_ms']:.2f} ms" if item["rtt_ms"] is not None else "not measured",
            f"{item['pair_fidelity']:.3f}",
            f"{item['pair_rate_hz']:.0f}",
        )
    console.print(links)
