import io
from collections.abc import Callable
from typing import Any, override

import pytest

from qmesh_client import progress, result
from qmesh_client.screen import number, operands, percent, ranges

Show = Callable[..., str]


@pytest.fixture
def show(document: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Show:
    """A stored result as text of a width."""

    def text(name: str, width: int, change: Callable[[dict[str, Any]], None] | None = None) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        found = document(name)
        if change is not None:
            change(found)
        result.show(found, f"{name}.qasm")
        return capsys.readouterr().out

    return text


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("name", ["seed", "teleport", "clifford_noisy"])
def test_results_fit_the_terminal_and_cut_nothing(show: Show, name: str, width: int) -> None:
    """No line is wider than the terminal, and no cell of a table is cut."""
    lines = [line.rstrip() for line in show(name, width).splitlines()]
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line and "states)" not in line and "more of" not in line]


def test_seed_result_says_what_the_seed_promises(show: Show) -> None:
    """q0 is always 0, the basis is 00 and 10 at 0.5, Z of q0 is 1 and q1's Bloch vector (1, 0, 0)."""
    lines = [" ".join(line.split()) for line in show("seed", 80).splitlines()]
    assert "Basis 00: 0.5, 10: 0.5" in lines
    assert "q0 1 (0, 0, 1) 0 bit" in lines
    assert "q1 0 (1, 0, 0) 0 bit" in lines
    assert any(line.startswith("0 1,024 100.0%") for line in lines)
    assert any("syndrome_extraction q0 bob 1 1.0000 exact" in line for line in lines)


def test_how_fidelity_was_measured_and_single_precision_are_said(show: Show) -> None:
    """The method stands behind the fidelity; double precision, which is the rule, is not worth a word."""

    def halve(found: dict[str, Any]) -> None:
        found["precision"] = "single"

    assert "to the target state 1 (method: rows)" in " ".join(show("seed", 140).split())
    assert "single precision" in show("seed", 140, halve)
    assert "precision" not in show("seed", 140)


def test_a_lower_bound_is_said_to_be_one(show: Show) -> None:
    """It has a value, so that it is not listed as missing."""

    def bound(found: dict[str, Any]) -> None:
        found["result"]["quantum_result"]["reasons"] = {
            "fidelity_to_target_state": "LOWER_BOUND: too many terms"
        }

    text = " ".join(show("seed", 140, bound).split())
    assert "to the target state at least 1 (method: rows)" in text
    assert "Without" not in text


def test_many_fragments_are_shown_by_block_and_node(show: Show) -> None:
    """A hundred fragments become a row a block and a row a node, with the e-bits of each link by name."""
    text = show("clifford_noisy", 140)
    assert "Execution: 106 fragments in 19 blocks on 3 nodes, 10 e-bits" in text
    assert "0.17" not in text
    assert "8 cnot, 5 programmable_gate, 3 hadamard" in text
    assert "bob - alice: 8" in text


def test_many_blocks_are_shown_by_node_only(show: Show) -> None:
    """When even the blocks are many, the rows of the nodes remain."""

    def widen(found: dict[str, Any]) -> None:
        for block, fragment in enumerate(found["result"]["fragment_results"]):
            fragment["block_id"] = block

    text = show("clifford_noisy", 100, widen)
    assert "106 blocks" in text
    assert len(text.splitlines()) < 60


def test_missing_insight_is_said_with_its_reason(show: Show) -> None:
    """A mid-circuit measurement leaves no pure state, and the view says what is missing and why."""
    text = " ".join(show("teleport", 100).split())
    missing = "statevector, entanglement_entropy, top_basis_states, fidelity_to_target_state"
    assert f"{missing} (NO_PURE_STATE)" in text


def test_unavailable_analysis_leaves_counts_and_truth(show: Show) -> None:
    """Without an analyzer the counts and who ran what are shown, and that the rest is unavailable."""

    def without(found: dict[str, Any]) -> None:
        insight = found["result"]["quantum_result"]
        kept = {key: insight[key] for key in ("counts", "shots", "measured_qubits")}
        insight.clear()
        insight.update(kept, analysis={"status": "unavailable", "code": "UNAVAILABLE"})

    text = show("seed", 80, without)
    assert "analysis: unavailable (UNAVAILABLE)" in text
    assert "1,024" in text
    assert "Execution: 7 fragments" in text


def test_retries_and_replans_are_visible(show: Show) -> None:
    """More than one attempt, a failed attempt and a new plan are told."""

    def harm(found: dict[str, Any]) -> None:
        first = found["result"]["fragment_results"][0]
        first["attempts"] = first["attempts"] * 3
        found["plans"] = ["a", "b"]
        found["result"]["failed_attempts"] = [{"code": "TIMEOUT", "message": "carol did not answer"}]

    text = show("seed", 100, harm)
    assert "replanned 1 time" in text
    assert "TIMEOUT carol did not answer" in text
    assert [line.split()[-3] for line in text.splitlines() if line.startswith("0.0 ")] == ["3"]


def test_no_escape_sequences_without_a_terminal(show: Show) -> None:
    """What goes into a file is plain text."""
    assert "\x1b" not in show("seed", 100)


class _Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("plain", [True, False])
def test_colour_at_a_terminal_unless_no_color(
    document: Any, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """At a terminal the view has colour; NO_COLOR takes it away."""
    terminal = _Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    result.show(document("seed"))
    assert ("32mCOMPLETED" in terminal.getvalue()) is not plain


def test_live_bar_at_a_terminal(event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal progress is a live bar with the fragments done, and notes stay above it."""
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    late = {"code": "TIMEOUT", "message": "late"}
    seen = [
        event(1, "EXECUTING"),
        event(2, "EXECUTING", "attempt_failed", fragment="0.1", error=late),
        event(3, "COMPLETED"),
    ]

    class Mesh:
        def events(self, _job_id: str, _after: int) -> Any:
            return iter(seen)

    assert progress.follow(Mesh(), "j") == seen  # type: ignore[arg-type] # as much of a mesh as is used
    assert "attempt at fragment 0.1 failed: TIMEOUT late" in terminal.getvalue()
    assert "1/2" in terminal.getvalue()


def test_numbers_and_qubits_are_short() -> None:
    """Rounding never shows a negative zero; runs of qubits are written as ranges."""
    assert [number(v) for v in (0.5, -0.00001, 1.0, 0.12345)] == ["0.5", "0", "1", "0.1235"]
    assert [percent(v) for v in (0.0, 0.005, 0.5, 1.0)] == ["0.0%", "0.50%", "50.0%", "100.0%"]
    assert ranges([7, 0, 1, 2, 9, 9]) == "q0-q2, q7, q9"
    assert operands([9, 0]) == "q9, q0"
    assert operands([0, 1, 2, 3]) == "q0-q3"
