"""One fuzzing campaign over circuits: seeds, the run, and the slowest and largest texts measured again without instrumentation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.fuzz.verdict import read, spends_budget
from tests.mesh import ROOT
from tests.programs import program

MOST_MS: Final = 200.0
MOST_BYTES: Final = 20 << 20
_PROGRAMS: Final = 60
LONGEST: Final = 512
"""Bytes of one fuzzed text; longer hostile texts are the corpus in tests/golden/hostile_qasm."""


@dataclass(slots=True)
class Outcome:
    """Figures of a campaign, and what broke a promise, in words."""

    figures: dict[str, Any]
    findings: list[str] = field(default_factory=list)


def run(executions: int, folder: Path, seed: int) -> Outcome:
    """Fuzzes circuits.

    Args:
        executions: texts to read.
        folder: for corpus and results; made anew.
        seed: of the mutations.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "corpus").mkdir(parents=True)
    seeds = 0
    for path in (*ROOT.glob("examples/*.qasm"), *ROOT.glob("tests/golden/*/*.qasm")):
        if path.stat().st_size <= LONGEST and not spends_budget(path.read_bytes()):
            (folder / "corpus" / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
            seeds += 1
    for number in range(_PROGRAMS):
        (folder / "corpus" / f"program-{number}.qasm").write_text(program(number, length=8).text)
    command = [sys.executable, "-m", "tests.fuzz.circuits", str(folder), str(executions)]
    command += [
        f"-seed={seed}",
        f"-max_len={LONGEST}",
        "-mutate_depth=2",
        "-timeout=10",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={folder}/",
    ]
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run(
            command, cwd=ROOT, stdout=log, stderr=log, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}
        )
    figures = folder / "figures.json"
    if done.returncode or not figures.exists():
        tail = (folder / "log.txt").read_text(errors="replace").splitlines()[-40:]
        return Outcome({"seeds": seeds + _PROGRAMS}, [f"the run ended with {done.returncode}:", *tail])
    outcome = Outcome({"seeds": seeds + _PROGRAMS, "mutation seed": seed} | json.loads(figures.read_text()))
    _measure(folder, outcome)
    return outcome


def _measure(folder: Path, outcome: Outcome) -> None:
    slowest, largest = 0.0, 0
    for path in sorted([*folder.glob("slow-*.qasm"), *folder.glob("large-*.qasm")]):
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        times = []
        for _ in range(3):
            begun = time.thread_time()
            read(text)
            times.append((time.thread_time() - begun) * 1e3)
        tracemalloc.start()
        read(text)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        slowest, largest = max(slowest, min(times)), max(largest, peak)
        if min(times) > MOST_MS or peak > MOST_BYTES:
            outcome.findings.append(f"{path}: {min(times):.0f} ms, {peak / (1 << 20):.1f} MiB")
    outcome.figures |= {
        "slowest text, ms": round(slowest, 1),
        "largest text, MiB": round(largest / (1 << 20), 2),
        "bound of time, ms": MOST_MS,
        "bound of memory, MiB": MOST_BYTES >> 20,
        "exceptions other than a diagnosis": 0,
    }
