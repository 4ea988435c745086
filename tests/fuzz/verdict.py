"""What must hold for any text at all: a circuit or a diagnosis, nothing else; and what is accepted survives being written again."""

from __future__ import annotations

import json
from typing import Final
from unittest.mock import patch

from qmesh_model import wire
from qmesh_model.budgets import Budgets
from qmesh_model.diagnostics import CircuitError, render
from qmesh_model.fastpath import FastPath
from qmesh_model.findings import CODES
from qmesh_model.openqasm import NotWritableError, write
from qmesh_model.parser import parse

BUDGETS: Final = Budgets(
    operations=5_000,
    gate_operations=5_000,
    iterations=5_000,
    operands=100_000,
    condition_reads=100_000,
    expression_work=100_000,
    loop_bytes=1_600_000,
)
"""A tenth of the default budgets; the bounds of the text itself are the default ones."""

_SPENT: Final = frozenset({"MESH101", "MESH107", "MESH108", "MESH109", "MESH119", "MESH120"})
_REWRITTEN: Final = 500
_SHOWN: Final = 2_000


class BrokenPromiseError(Exception):
    """Something that must hold does not."""


def read(text: str) -> bool:
    """Reads a text as the mesh does; whether it is accepted. This is what is timed.

    Raises:
        CircuitError: never.
    """
    try:
        parse(text, BUDGETS)
    except CircuitError:
        return False
    return True


def spends_budget(raw: bytes) -> bool:
    """Whether a text is refused because it costs too much: such a text is slow by design, and a poor seed."""
    try:
        parse(raw.decode("utf-8", "surrogateescape"), BUDGETS)
    except CircuitError as error:
        return any(item.code in _SPENT for item in error.diagnostics)
    return False


def _outcome(text: str) -> object:
    try:
        circuit = parse(text, BUDGETS)
    except CircuitError as error:
        return error.diagnostics
    return circuit, circuit.warnings


def _slowly(text: str) -> object:
    """What a text gives when no statement is read by one expression."""
    with patch.object(FastPath, "run", lambda _: 0), patch.object(FastPath, "one", lambda *_: False):
        return _outcome(text)


def judge(text: str) -> None:
    """Looks at everything that a text gives.

    Raises:
        BrokenPromiseError: when a promise does not hold; whatever else is raised breaks one as well.
    """
    if _outcome(text) != _slowly(text):
        raise BrokenPromiseError("reading at speed gives something else")
    try:
        circuit = parse(text, BUDGETS)
    except CircuitError as error:
        _diagnosed(text, error)
        return
    if len(circuit.operations) > _REWRITTEN:
        return
    if wire.from_proto(wire.to_proto(circuit)).digest != circuit.digest:
        raise BrokenPromiseError("the message of a circuit is another circuit")
    try:
        written = write(circuit)
    except NotWritableError as error:
        raise BrokenPromiseError(f"a circuit that was read cannot be written: {error}") from error
    try:
        again = parse(written)
    except CircuitError as error:
        raise BrokenPromiseError(f"what is written cannot be read: {error}\n{written[:_SHOWN]}") from error
    if again.digest != circuit.digest:
        raise BrokenPromiseError(f"what is written is another circuit:\n{written[:_SHOWN]}")


def _diagnosed(text: str, error: CircuitError) -> None:
    found = error.diagnostics
    if not 1 <= len(found) <= BUDGETS.diagnostics:
        raise BrokenPromiseError(f"{len(found)} diagnostics")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for item in found:
        if item.code not in CODES or not item.hint or not item.message:
            raise BrokenPromiseError(f"a diagnostic lacks its code or hint: {item}")
        for line, column, end in [(item.line, item.column, item.end_column)] + [
            (r.line, r.column, r.end_column) for r in item.related
        ]:
            if not (1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1 and end > column):
                raise BrokenPromiseError(f"a place outside of the text: {item}")
    render(text, found)
    json.dumps([item.document() for item in found])
