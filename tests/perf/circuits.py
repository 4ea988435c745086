"""Reading of circuits: normal form of OpenQASM 2 and 3 texts, beside Qiskit's importers of the same texts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from random import Random

from qiskit import qasm2
from qiskit_qasm3_import import parse as import3

from qmesh_model.budgets import Budgets
from qmesh_model.parser import parse
from tests.perf.figure import Figure

_QUBITS = 20
_SIZES = (1_000, 10_000, 50_000)
_LARGE = Budgets(text_bytes=8 << 20, cpu_seconds=60.0)
"""50,000 operations of this kind are a text of 1 MiB, more than a stranger may send."""
_ROUNDS = 7


def text(version: int, operations: int, seed: int = 1) -> str:
    """A program of one- and two-qubit gates, half of them with angles, that ends with its measurements."""
    draw = Random(seed)
    if version == 2:
        lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{_QUBITS}];", f"creg c[{_QUBITS}];"]
    else:
        lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{_QUBITS}] q;", f"bit[{_QUBITS}] c;"]
    for _ in range(operations - _QUBITS):
        a, b = draw.sample(range(_QUBITS), 2)
        lines.append(
            draw.choice(
                [
                    f"h q[{a}];",
                    f"rz({draw.uniform(-3, 3)!r}) q[{a}];",
                    f"cx q[{a}], q[{b}];",
                    f"cu1(pi/{draw.randrange(1, 64)}) q[{a}], q[{b}];"
                    if version == 2
                    else f"cp(pi/{draw.randrange(1, 64)}) q[{a}], q[{b}];",
                    f"u3(pi/{draw.randrange(1, 9)}, {draw.random():.6f}, -pi/2) q[{a}];",
                ]
            )
        )
    measure = "measure q[{0}] -> c[{0}];" if version == 2 else "c[{0}] = measure q[{0}];"
    return "\n".join([*lines, *(measure.format(k) for k in range(_QUBITS))]) + "\n"


def _cpu_ms(act: Callable[[], object], rounds: int) -> float:
    """Least processor time of one call, in milliseconds."""
    found = []
    for _ in range(rounds):
        begun = time.thread_time()
        act()
        found.append((time.thread_time() - begun) * 1e3)
    return min(found)


def _import3(program: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import3(program)


def run() -> list[Figure]:
    """The figures; ours and the others take turns on the same texts."""
    figures = []
    targets = {1_000: 15.0, 10_000: 150.0}
    for version in (2, 3):
        each = {}
        for size in _SIZES:
            program = text(version, size)
            assert len(parse(program, _LARGE).operations) == size
            rounds = _ROUNDS if size < _SIZES[-1] else 3
            each[size] = _cpu_ms(partial(parse, program, _LARGE), rounds)
            how = f"processor time, least of {rounds}, {len(program) >> 10} KiB"
            figures.append(
                Figure(
                    f"OpenQASM {version}, {size:,} operations",
                    each[size],
                    "ms",
                    targets.get(size),
                    cpu_ms=each[size] / size,
                    how=how,
                )
            )
        growth = each[_SIZES[-1]] / _SIZES[-1] / (each[_SIZES[1]] / _SIZES[1])
        figures.append(
            Figure(
                f"OpenQASM {version}, an operation of 50,000 / of 10,000",
                growth,
                "x",
                1.5,
                1.1,
                how="linear is 1",
            )
        )
    program2, program3 = text(2, 10_000), text(3, 1_000)
    rust = _cpu_ms(
        lambda: qasm2.loads(program2, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS), _ROUNDS
    )
    ours2 = _cpu_ms(lambda: parse(program2), _ROUNDS)
    figures.append(Figure("qiskit.qasm2.loads (Rust), 10,000 operations", rust, "ms", how="the same text"))
    figures.append(
        Figure("ours / qiskit.qasm2.loads", ours2 / rust, "x", how=f"{ours2:.1f} ms against {rust:.1f} ms")
    )
    antlr = _cpu_ms(lambda: _import3(program3), 2)
    ours3 = _cpu_ms(lambda: parse(program3), _ROUNDS)
    figures.append(Figure("qiskit_qasm3_import (ANTLR), 1,000 operations", antlr, "ms", how="the same text"))
    figures.append(
        Figure("ours / qiskit_qasm3_import", ours3 / antlr, "x", how=f"{ours3:.1f} ms against {antlr:.1f} ms")
    )
    return figures
