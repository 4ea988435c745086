"""Hostile texts: each is refused with its code, or accepted, within bounds of memory; nothing else is ever raised."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from qmesh_model.budgets import Budgets
from qmesh_model.diagnostics import CircuitError, render
from qmesh_model.findings import CODES
from qmesh_model.parser import parse

CORPUS = Path(__file__).parents[1] / "golden" / "hostile_qasm"
EXPECTED = dict(line.split() for line in (CORPUS / "expected.txt").read_text().splitlines())
ROWS = 15
MOST_BYTES = 20 << 20
BOUNDS = {"MESH100", "MESH101", "MESH102", "MESH103", "MESH104", "MESH105", "MESH106", "MESH107", "MESH108"} | {
    "MESH109", "MESH117", "MESH119", "MESH120",
}  # fmt: skip


def test_the_corpus_is_whole() -> None:
    """Each file has an expectation, each expectation a file, and each row of the list of attacks some of them."""
    assert {path.stem for path in CORPUS.glob("*.qasm")} == set(EXPECTED)
    assert {int(name[:2]) for name in EXPECTED} == set(range(1, ROWS + 1))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_hostile_text(name: str) -> None:
    """The first finding has the expected code, at a place inside of the text, with a way to mend it; a bound is named."""
    raw, code = (CORPUS / f"{name}.qasm").read_bytes(), EXPECTED[name]
    if code == "undecodable":
        with pytest.raises(UnicodeDecodeError):
            raw.decode()
        return
    text = raw.decode()
    if code == "accepted":
        parse(text)
        return
    with pytest.raises(CircuitError) as caught:
        parse(text)
    first = caught.value.diagnostics[0]
    assert first.code == code
    assert len(caught.value.diagnostics) <= Budgets().diagnostics
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for found in caught.value.diagnostics:
        assert found.code in CODES
        assert found.hint
        assert 1 <= found.line <= len(lines)
        assert 1 <= found.column <= max(1, len(lines[found.line - 1]) + 1)
        assert len(found.message) + len(found.hint) < 400, "foreign text is quoted in part only"
    if code in BOUNDS:
        assert any(f"`{bound}`" in first.message for bound in Budgets.__dataclass_fields__), first.message
    assert len(render(text, caught.value.diagnostics)) < 20_000


LARGE = sorted(name for name in EXPECTED if name.startswith(("02", "03", "04", "07", "13")))
LARGE += ["05_sum_of_100000", "10_lines_250000", "10_one_line", "10_one_statement"]


@pytest.mark.parametrize("name", LARGE)
def test_hostile_text_takes_little_memory(name: str) -> None:
    """At most 20 MiB at once, counted by the allocator."""
    text = (CORPUS / f"{name}.qasm").read_bytes().decode()
    tracemalloc.start()
    try:
        parse(text, Budgets(cpu_seconds=60))
    except CircuitError as error:
        assert error.diagnostics  # noqa: PT017 - an accepted text is right as well
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= MOST_BYTES
