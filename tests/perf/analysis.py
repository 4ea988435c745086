"""What one analysis costs, all fields, in a process of its own with one thread, as the analyzer's workers are."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

from tests.mesh import ROOT
from tests.perf.figure import Figure

_HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
_CASES = ((12, 100, False, 10, 3), (16, 100, False, 80, 40), (20, 100, False, 1500, 850))
_CLIFFORD = ((24, 100, True, 40, 15), (100, 500, True, 400, 100), (400, 2000, True, None, None))
_ROUNDS = 5
_SHOTS = 1024


def _text(n: int, gates: int, *, clifford: bool) -> str:
    rng = random.Random(n)
    lines = []
    for _ in range(gates):
        a, b = rng.sample(range(n), 2)
        last = f"s q[{a}];" if clifford else f"ry({rng.random()}) q[{a}];"
        two = [f"{name} q[{a}], q[{b}];" for name in ("cx", "cz", "swap")]
        lines.append(rng.choice([f"h q[{a}];", *two, last]))
    return _HEAD + f"qubit[{n}] q;\nbit[{n}] c;\n" + "\n".join(lines) + "\nc = measure q;"


def measure() -> list[float]:
    """Least CPU milliseconds of each case."""
    from qmesh.analyzer.v1 import analyzer_pb2 as analysis
    from qmesh_analyzer import framing
    from qmesh_analyzer.work import RESULT, answer_of
    from qmesh_model.parser import parse
    from qmesh_model.wire import to_proto

    found = []
    for n, gates, clifford, _, _ in _CASES + _CLIFFORD:
        form = to_proto(parse(_text(n, gates, clifford=clifford)))
        counts = {"0" * n: _SHOTS}
        header = analysis.AnalysisHeader(circuit=form, shots=_SHOTS, counts=counts, final_wires=range(n))
        seconds = []
        for _ in range(_ROUNDS):
            begun = time.process_time()
            answer = answer_of([framing.ANALYZE, header.SerializeToString(), b"[]"])
            seconds.append(time.process_time() - begun)
            assert answer.startswith(RESULT), answer[:200]
        found.append(min(seconds) * 1e3)
    return found


def run() -> list[Figure]:
    """The figures."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.perf.analysis"],
        env=os.environ | threads, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    figures = []
    for (n, gates, clifford, target, aim), value in zip(
        _CASES + _CLIFFORD, json.loads(done.stdout), strict=True
    ):
        kind = "Clifford gates" if clifford else "gates"
        how = f"{gates} random {kind}, every field and the distribution, no rows; CPU, one thread, no mesh"
        figures.append(
            Figure(f"analysis, n = {n}{', Clifford' * clifford}", value, "ms", target, aim, how=how)
        )
    return figures


if __name__ == "__main__":
    print(json.dumps(measure()))
