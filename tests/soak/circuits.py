"""Two thousand programs of each language against the `QuantumCircuit` that each means, and against Qiskit's importers."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

import hypothesis
from hypothesis import HealthCheck, Phase, given
from qiskit import QuantumCircuit, qasm2
from qiskit.exceptions import QiskitError
from qiskit.qasm2 import QASM2ParseError
from qiskit_qasm3_import import ConversionError
from qiskit_qasm3_import import parse as import3

from qmesh_model.diagnostics import CircuitError
from qmesh_model.openqasm import NotWritableError, write
from qmesh_model.parser import parse
from tests.circuits.grammar import FEATURES, Program, programs
from tests.circuits.meaning import TooManyBranchesError, difference
from tests.soak.evidence import Evidence

_PROGRAMS: Final = 2_000
_SPARE: Final = 20
_TOLERANCE: Final = 1e-9
_SEED: Final = 20261130


class _Tally:
    """What the programs of one kind showed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.checked = 0
        self.dynamic = 0
        self.too_many_branches = 0
        self.not_taken = 0
        self.operations = 0
        self.worst = 0.0
        self.features: Counter[str] = Counter()
        self.findings: list[str] = []

    def check(self, program: Program, other: QuantumCircuit) -> None:
        """Compares one program with what it means; rejects it when it has too many branches."""
        try:
            form = parse(program.text)
            if parse(write(form)).digest != form.digest:
                self.findings.append(
                    f"{self.name}: written and read again it is another circuit:\n{program.text}"
                )
            found = difference(other, form.bind(program.values), dynamic=program.dynamic)
        except TooManyBranchesError:
            self.too_many_branches += 1
            hypothesis.reject()
        except (CircuitError, NotWritableError) as error:
            self.findings.append(f"{self.name}: {error}:\n{program.text}")
            return
        self.checked += 1
        self.dynamic += program.dynamic
        self.operations += len(form.operations)
        self.worst = max(self.worst, found)
        self.features.update(program.features)
        if not found <= _TOLERANCE:
            self.findings.append(f"{self.name}: differs by {found:.3g}:\n{program.text}")

    def figures(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "programs": self.checked,
            "of them dynamic": self.dynamic,
            "operations": self.operations,
            "largest difference": float(f"{self.worst:.2g}"),
            "programs of each feature": dict(sorted(self.features.items())),
            "drawn again for too many branches": self.too_many_branches,
            "drawn again because the importer does not take them": self.not_taken,
        }


def _drawn(strategy: Any, act: Callable[[Program], None]) -> None:
    """Calls `act` with 2,000 programs that it does not reject."""

    @hypothesis.seed(_SEED)
    @hypothesis.settings(
        max_examples=_PROGRAMS + _SPARE,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(program: Program) -> None:
        act(program)

    each()


def _own(version: int) -> _Tally:
    tally = _Tally(f"OpenQASM {version}")
    _drawn(programs(version), lambda program: tally.check(program, program.circuit))
    missing = FEATURES[version] - set(tally.features)
    if missing:
        tally.findings.append(f"OpenQASM {version}: no program has {', '.join(sorted(missing))}")
    return tally


def _qiskit2() -> _Tally:
    tally = _Tally("qiskit.qasm2")

    def act(program: Program) -> None:
        try:
            other = qasm2.loads(program.text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
        except QASM2ParseError:
            tally.not_taken += 1
            hypothesis.reject()
        tally.check(program, other)

    _drawn(programs(2, portable=True), act)
    return tally


def _qiskit3() -> _Tally:
    tally = _Tally("qiskit_qasm3_import")

    def act(program: Program) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                other = import3(program.text)
        except (ConversionError, QiskitError, TypeError):
            tally.not_taken += 1
            hypothesis.reject()
        if any(item.operation.name == "for_loop" for item in other.data):
            tally.not_taken += 1
            hypothesis.reject()
        tally.check(program, other.assign_parameters(program.values) if other.parameters else other)

    _drawn(programs(3, portable=True, dynamic=False), act)
    return tally


def run() -> Evidence:
    """All four comparisons, as many at once as there are cores."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        running = [pool.submit(_own, 3), pool.submit(_qiskit3), pool.submit(_own, 2), pool.submit(_qiskit2)]
        tallies = [one.result() for one in running]
    findings = [finding for tally in tallies for finding in tally.findings]
    findings += [
        f"{tally.name}: only {tally.checked} programs" for tally in tallies if tally.checked < _PROGRAMS
    ]
    figures: dict[str, Any] = {tally.name: tally.figures() for tally in tallies}
    figures["tolerance"] = _TOLERANCE
    return Evidence("circuits", not findings, figures, findings)
