"""The result of a job as people like to read it: what came out, the ideal beside it, and who did what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from qmesh_client.screen import number, operands, out, percent, plural, ranges, seconds_between, table

_BAR = 24
_OUTCOMES = 16
_FLAT_OUTCOMES = 8
_FLAT = 0.02
_QUBITS = 16
_FRAGMENTS = 24
_BLOCKS = 24
_SIDE_BY_SIDE = 100
_WIDE = 120

Fragment = Mapping[str, Any]


def show(document: Mapping[str, Any], name: str = "") -> None:
    """A whole job document."""
    console = out()
    inside = document.get("result")
    _head(console, document, name)
    if document.get("error"):
        failure = document["error"]
        console.print(Text(f"{failure['code']}: {failure['message']}", style="red"))
    if not inside:
        return
    insight = inside["quantum_result"]
    _side_by_side(console, [part for part in (_counts(insight), _qubits(insight)) if part is not None])
    _insight(console, insight)
    _execution(console, inside)
    for failed in inside.get("failed_attempts") or []:
        console.print(Text(f"failed attempt: {failed['code']} {failed['message']}", style="yellow"))
    for warning in inside.get("warnings") or []:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _head(console: Console, document: Mapping[str, Any], name: str) -> None:
    status = document["status"]
    colour = "green" if status == "COMPLETED" else "red"
    console.print(
        Text.assemble((status, f"bold {colour}"), "  ", (name or "job", "bold"), f"  {document['job_id']}")
    )
    took = seconds_between(document["created_at"], document["updated_at"])
    parts = [
        f"{took * 1000:.0f} ms" if took is not None else "",
        plural(document["shots"], "shot"),
        f"seed {document['seed']}",
        f"strategy {document['strategy']}",
        f"noise {'on' if document['noise'] else 'off'}",
        "single precision" if document.get("precision") == "single" else "",
        f"replanned {plural(len(document['plans']) - 1, 'time')}" if len(document["plans"]) > 1 else "",
    ]
    console.print(Text(" · ".join(part for part in parts if part), style="dim"))
    console.print()


def _side_by_side(console: Console, parts: Sequence[Table]) -> None:
    widths = [console.measure(part).maximum for part in parts]
    if len(parts) > 1 and console.width >= max(_SIDE_BY_SIDE, sum(widths) + 4):
        grid = Table.grid(padding=(0, 4))
        grid.add_row(*parts)
        console.print(grid)
        console.print()
    else:
        for part in parts:
            console.print(part)
            console.print()


def _counts(insight: Mapping[str, Any]) -> Table | None:
    counts: Mapping[str, int] = insight["counts"] or {}
    if not counts:
        return None
    shots = sum(counts.values())
    exact = insight.get("measured_probabilities")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked[: _FLAT_OUTCOMES if ranked[0][1] < _FLAT * shots else _OUTCOMES]
    columns = ["bits", "count", "share", ""] + (["ideal"] if exact is not None else [])
    made = table(*columns, right=("count", "share", "ideal"), title="Counts")
    for bits, count in shown:
        bar = "█" * max(1, round(_BAR * count / ranked[0][1]))
        row: list[RenderableType] = [bits, f"{count:,}", percent(count / shots), Text(bar, style="cyan")]
        made.add_row(*row, *([percent(exact.get(bits, 0.0))] if exact is not None else []))
    if len(ranked) > len(shown):
        rest = len(ranked) - len(shown)
        made.caption = f"… and {rest:,} more of {len(ranked):,} outcomes that occurred"
        made.caption_justify = "left"
    return made


def _qubits(insight: Mapping[str, Any]) -> Table | None:
    bloch: Mapping[str, Sequence[float]] = insight.get("bloch_vectors") or {}
    if not bloch:
        return None
    entropy = insight.get("entanglement_entropy")
    columns = ["qubit", "<Z>", "Bloch vector"] + (["entropy"] if entropy else [])
    made = table(*columns, right=("<Z>", "entropy"), title="Ideal state")
    for qubit, vector in list(bloch.items())[:_QUBITS]:
        row = [qubit, number(vector[2]), f"({', '.join(number(v) for v in vector)})"]
        made.add_row(*row, *([f"{number(entropy.get(f'{qubit}|rest', 0.0))} bit"] if entropy else []))
    if len(bloch) > _QUBITS:
        made.caption = f"… and {plural(len(bloch) - _QUBITS, 'more qubit')}"
        made.caption_justify = "left"
    return made


def _insight(console: Console, insight: Mapping[str, Any]) -> None:
    analysis = insight["analysis"]
    if analysis["status"] == "unavailable":
        console.print(Text(f"analysis: unavailable ({analysis['code']})", style="yellow"))
        return
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column()
    basis = _basis(insight)
    if basis:
        lines.add_row("Basis", basis)
    fidelity = _fidelity(insight)
    if fidelity:
        lines.add_row("Fidelity", ", ".join(fidelity))
    reasons: dict[str, list[str]] = defaultdict(list)
    for field, reason in (insight.get("reasons") or {}).items():
        if not _told(field, insight):
            reasons[reason].append(field)
    for reason, names in reasons.items():
        lines.add_row("Without", Text(f"{', '.join(names)} ({reason})", style="dim"))
    console.print(lines)
    console.print()


def _told(field: str, insight: Mapping[str, Any]) -> bool:
    """Whether a field has a reason although it has a value: that is a lower bound."""
    reason = (insight.get("reasons") or {}).get(field, "")
    return bool(reason.startswith("LOWER_BOUND"))


def _basis(insight: Mapping[str, Any]) -> str:
    top = insight.get("top_basis_states") or []
    states = insight.get("probabilities") or {entry["basis"]: entry["probability"] for entry in top}
    ranked = sorted(states.items(), key=lambda item: (-item[1], item[0]))
    if not ranked:
        return ""
    few = ranked[:8] if ranked[0][1] >= _FLAT else ranked[:4]
    listed = ", ".join(f"{basis}: {number(p)}" for basis, p in few)
    return listed + (f" … ({len(ranked):,} states)" if len(ranked) > len(few) else "")


def _fidelity(insight: Mapping[str, Any]) -> list[str]:
    fidelity = insight.get("fidelity") or {}
    found = []
    if fidelity.get("fidelity_to_target_state") is not None:
        stderr = f" ± {number(fidelity['stderr'])}" if fidelity["stderr"] else ""
        method = f" (method: {insight['method']})" if insight.get("method") else ""
        bound = "at least " if _told("fidelity_to_target_state", insight) else ""
        value = number(fidelity["fidelity_to_target_state"])
        found.append(f"to the target state {bound}{value}{stderr}{method}")
    elif insight.get("conditional_fidelity"):
        found.append(
            f"to the ideal of each shot's outcomes {number(insight['conditional_fidelity']['value'])}"
        )
    if insight.get("distribution_fidelity"):
        measured = insight["distribution_fidelity"]
        found.append(
            f"of the distribution {number(measured['hellinger'])} "
            f"(a perfect sampler: {number(measured['expected_under_sampling'])})"
        )
    if fidelity.get("estimated_execution_fidelity") is not None:
        found.append(f"estimated from the fragments {number(fidelity['estimated_execution_fidelity'])}")
    return found


def _execution(console: Console, inside: Mapping[str, Any]) -> None:
    fragments: Sequence[Fragment] = inside["fragment_results"]
    if not fragments:
        return
    blocks: dict[tuple[Any, ...], list[Fragment]] = defaultdict(list)
    for fragment in fragments:
        blocks[fragment["parameter_set"], fragment["slice"], fragment["stage"], fragment["block_id"]].append(
            fragment
        )
    names = {f["node_id"]: node_of(f) for f in fragments}
    title = (
        f"Execution: {plural(len(fragments), 'fragment')} in {plural(len(blocks), 'block')} "
        f"on {plural(len(names), 'node')}, {plural(inside['ebits']['total'], 'e-bit')}"
    )
    if len(fragments) <= _FRAGMENTS:
        parts: list[RenderableType] = [_by_fragment(fragments, title)]
    elif len(blocks) <= _BLOCKS:
        parts = [_by_block(list(blocks.values()), title, console.width)]
    else:
        parts = [Text(title, style="bold")]
    if len(names) > 1:
        parts.append(_by_node(fragments))
    for part in parts:
        console.print(part)
        console.print()
    if inside["ebits"]["per_link"]:
        used = ", ".join(
            f"{' - '.join(names.get(node, node[-8:]) for node in link['link'])}: {link['ebits']}"
            for link in inside["ebits"]["per_link"]
        )
        console.print(Text.assemble(("E-bits    ", "bold"), used))


def node_of(fragment: Fragment) -> str:
    """Name of the node that ran a fragment."""
    return fragment["node_name"] or str(fragment["node_id"])[-8:]


def _observed(fragments: Sequence[Fragment]) -> str:
    """The lowest observed fidelity, and how it is known."""
    known = [f for f in fragments if f["observed_fidelity"] is not None]
    if not known:
        return "-"
    worst = min(known, key=lambda f: float(f["observed_fidelity"]))
    source = "exact" if worst["fidelity_source"] == "exact" else "observed"
    return f"{worst['observed_fidelity']:.4f} {source}"


def _attempts(fragments: Sequence[Fragment]) -> Text:
    most = max(len(f["attempts"]) for f in fragments)
    return Text(str(most), style="yellow" if most > 1 else "")


def _by_fragment(fragments: Sequence[Fragment], title: str) -> Table:
    made = table(
        "fragment", "service", "qubits", "node", "attempts", "fidelity", right=("attempts",), title=title
    )
    for fragment in fragments:
        made.add_row(
            fragment["fragment_id"],
            fragment["service_type"] or "-",
            operands(fragment["qubits"]),
            node_of(fragment),
            _attempts([fragment]),
            _observed([fragment]),
        )
    return made


def _by_block(blocks: Sequence[Sequence[Fragment]], title: str, width: int) -> Table:
    wide = width >= _WIDE
    columns = ["block", "stage", "node", "fragments"]
    columns += ["services"] if wide else []
    columns += ["attempts", "e-bits", "lowest fidelity"]
    made = table(*columns, right=("block", "stage", "fragments", "attempts", "e-bits"), title=title)
    for part in blocks:
        first = part[0]
        services = Counter(str(f["service_type"] or "-") for f in part)
        listed = ", ".join(f"{count} {name}" for name, count in services.most_common())
        made.add_row(
            str(first["block_id"]),
            str(first["stage"]),
            node_of(first),
            str(len(part)),
            *([listed] if wide else []),
            _attempts(part),
            str(sum(len(f["ebits"]) for f in part)),
            _observed(part),
        )
    if wide:
        made.columns[4].no_wrap = False
    return made


def _by_node(fragments: Sequence[Fragment]) -> Table:
    by_node: dict[str, list[Fragment]] = defaultdict(list)
    for fragment in fragments:
        by_node[node_of(fragment)].append(fragment)
    made = table(
        "node",
        "blocks",
        "fragments",
        "attempts",
        "e-bits",
        "lowest fidelity",
        "qubits",
        right=("blocks", "fragments", "attempts", "e-bits"),
    )
    for name, part in sorted(by_node.items()):
        made.add_row(
            name,
            str(len({f["block_id"] for f in part})),
            str(len(part)),
            _attempts(part),
            str(sum(len(f["ebits"]) for f in part)),
            _observed(part),
            ranges([q for f in part for q in f["qubits"]]),
        )
    made.columns[-1].no_wrap = False
    return made
