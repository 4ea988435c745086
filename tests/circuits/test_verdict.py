"""What the fuzzer holds every text to, on the texts that are on file; and that it would see a broken promise."""

from pathlib import Path
from typing import Any

import pytest

from qmesh_model import openqasm
from qmesh_model.fastpath import FastPath
from tests.fuzz import verdict
from tests.fuzz.verdict import BrokenPromiseError, judge

GOLDEN = Path(__file__).parents[1] / "golden"
LARGE = 20_000
FILES = [path for path in sorted(GOLDEN.glob("*/*.qasm")) if path.stat().st_size <= LARGE]
GOOD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nh q[0];\nrx(0.5) q[1];\n'


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_texts_on_file_keep_every_promise(path: Path) -> None:
    """A circuit that survives its message and its text, or diagnostics with places, hints and JSON; the same at either speed."""
    judge(path.read_bytes().decode("utf-8", "surrogateescape"))


BREAKS: dict[str, tuple[Any, str, Any, type[Exception]]] = {
    "written otherwise": (
        verdict,
        "write",
        lambda form: openqasm.write(form).replace("0.5", "0.25"),
        BrokenPromiseError,
    ),
    "read otherwise at speed": (FastPath, "_parameters", lambda *_: (0.25,), BrokenPromiseError),
    "another exception": (FastPath, "_parameters", lambda *_: 1 / 0, ZeroDivisionError),
    "an unknown code": (verdict, "CODES", {}, BrokenPromiseError),
}


@pytest.mark.parametrize("name", sorted(BREAKS))
def test_broken_promises_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A front end that broke one promise would be found."""
    text = GOOD + ("hh q[0];\n" if name == "an unknown code" else "")
    judge(text)
    where, attribute, wrong, found = BREAKS[name]
    monkeypatch.setattr(where, attribute, wrong)
    with pytest.raises(found):
        judge(text)


def test_what_costs_too_much_is_a_poor_seed() -> None:
    """Texts that spend a budget are told from texts that are wrong."""
    assert verdict.spends_budget(GOOD.encode() + b"for int i in [0:9999] h q[0];")
    assert not verdict.spends_budget(GOOD.encode() + b"hh q[0];")
    assert verdict.read(GOOD)
    assert not verdict.read(GOOD + "hh q[0];")
