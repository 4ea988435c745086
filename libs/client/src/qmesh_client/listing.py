"""Lists and summaries: jobs, plans, services, topology, what a circuit is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from qmesh_client.drawing import draw
from qmesh_client.screen import moment, number, out, plural, table
from qmesh_model.circuit import Circuit

_NANO = 1e9
_ID = 36


def validation(circuit: Circuit, document: Mapping[str, Any], name: str) -> None:
    """A valid circuit: its size, a drawing, its figures."""
    console = out()
    size = f"{plural(circuit.num_qubits, 'qubit')}, {plural(len(circuit.operations), 'operation')}"
    console.print(Text.assemble(("valid", "bold green"), f"  {name}: {size}"))
    console.print()
    for line in draw(circuit, console.width - 2):
        console.print(Text(f"  {line}".rstrip()), soft_wrap=True)
    console.print()
    for key, value in document["statistics"].items():
        shown = ("yes" if value else "no") if isinstance(value, bool) else f"{value:,}"
        console.print(Text(f"  {key.replace('_', ' ')}: {shown}"))
    if circuit.symbols:
        console.print(Text(f"  parameters: {', '.join(circuit.symbols)}"))


def jobs(found: Sequence[Mapping[str, Any]]) -> None:
    """Jobs, newest first."""
    if not found:
        out().print("no jobs")
        return
    made = table("job", "status", "shots", "fragments", "submitted", "error", right=("shots", "fragments"))
    for item in found:
        progress = item["progress"]
        made.add_row(
            item["job_id"],
            item["status"],
            f"{item['shots']:,}",
            f"{progress['completed_fragments']}/{progress['total_fragments']}",
            moment(item["created_at"]),
            (item["error"] or {}).get("code", ""),
        )
    out().print(made)


def job(item: Mapping[str, Any]) -> None:
    """Where one job stands."""
    console = out()
    progress = item["progress"]
    console.print(Text.assemble((item["status"], "bold"), f"  {item['job_id']}"))
    console.print(
        f"fragments {progress['completed_fragments']}/{progress['total_fragments']}, shots {item['shots']:,}, "
        f"seed {item['seed']}, strategy {item['strategy']}, noise {'on' if item['noise'] else 'off'}"
    )
    console.print(
        f"submitted {moment(item['created_at'])}, last event {moment(progress['latest_event_at'])} UTC"
    )
    console.print(f"plans {', '.join(item['plans']) or '-'}")
    if item["error"]:
        console.print(Text(f"{item['error']['code']}: {item['error']['message']}", style="red"))


def plan(document: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """A plan: blocks, nodes and scores."""
    console = out()
    console.print(Text.assemble(("plan", "bold"), f"  {document['plan_id']}"))
    console.print(
        f"strategy {document['strategy']}, {plural(len(document['fragments']), 'fragment')} in "
        f"{plural(len(document['blocks']), 'block')}, {plural(document['ebits']['total'], 'e-bit')}, "
        f"predicted fidelity {number(document['predicted_fidelity'])}"
    )
    scores = ("latency", "risk", "e-bits", "load", "score")
    right = ("block", "stage", "fragments", *scores)
    made = table("block", "stage", "fragments", "node", *scores, "fallbacks", right=right)
    made.columns[-1].no_wrap = False
    for block, assignment in zip(document["blocks"], document["assignments"], strict=True):
        first, *rest = assignment["candidates"]
        terms = (
            first["score"][k] / _NANO for k in ("latency", "failure_risk", "entanglement", "load", "total")
        )
        made.add_row(
            str(block["block_id"]),
            str(block["stage"]),
            str(len(block["fragments"])),
            _name(first["node_id"], names),
            *(number(term) for term in terms),
            ", ".join(_name(c["node_id"], names) for c in rest) or "-",
        )
    console.print(made)
    for warning in document["warnings"]:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _name(node_id: str, names: Mapping[str, str]) -> str:
    return names.get(node_id) or node_id[-8:]


def services(document: Mapping[str, Any]) -> None:
    """Services by node."""
    made = table("service", "node", "fidelity", "operands", "availability", right=("fidelity",))
    for item in sorted(document["services"], key=lambda s: (s["service_type"], s["node_name"])):
        made.add_row(
            item["service_type"],
            item["node_name"] or item["node_id"][-8:],
            f"{item['fidelity']:.4f}",
            f"{item['qubit_min']}-{item['qubit_max']}",
            item["availability"],
        )
    out().print(made)


def topology(document: Mapping[str, Any]) -> None:
    """Nodes and links."""
    console = out()
    names = {p["peer_id"]: p["name"] for p in document["peers"]}
    nodes = table(
        "node", "health", "tier", "data qubits", "services", "peer id", right=("data qubits", "services")
    )
    for item in document["peers"]:
        nodes.add_row(
            item["name"] or "-",
            item["health_status"],
            item["trust_tier"],
            str(item["capacity"]["data_qubits"]),
            str(len(item["services"])),
            item["peer_id"] if console.width >= 2 * _ID + 40 else f"…{item['peer_id'][-8:]}",
        )
    console.print(nodes)
    links = table(
        "link", "round trip", "pair fidelity", "pairs/s", right=("round trip", "pair fidelity", "pairs/s")
    )
    for item in document["links"]:
        links.add_row(
            f"{_name(item['a'], names)} - {_name(item['b'], names)}",
            f"{item['rtt_ms']:.2f} ms" if item["rtt_ms"] is not None else "not measured",
            f"{item['pair_fidelity']:.3f}",
            f"{item['pair_rate_hz']:.0f}",
        )
    console.print(links)
