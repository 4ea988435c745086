"""`make fuzz`: coverage-guided fuzzing of what strangers may send; figures, and 1 when something breaks a promise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.campaign import Outcome
from tests.mesh import ROOT

_TARGETS: Mapping[str, Callable[[int, Path, int], Outcome]] = {"circuits": campaign.run}


def main() -> int:
    """Runs the chosen targets."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--runs", type=int, default=100_000, help="executions of each target (RUNS=)")
    parser.add_argument("--target", choices=sorted(_TARGETS), action="append", help="this one only (TARGET=)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    options = parser.parse_args()
    bad = False
    for name in options.target or _TARGETS:
        folder = ROOT / "build" / "fuzz" / name
        sys.stdout.write(
            f"{name}: {options.runs:,} executions; as it goes: {folder.relative_to(ROOT)}/log.txt\n"
        )
        sys.stdout.flush()
        outcome = _TARGETS[name](options.runs, folder, options.seed)
        bad |= bool(outcome.findings)
        sys.stdout.write(f"{name}: {'FAILED' if outcome.findings else 'passed'}\n")
        for figure, value in outcome.figures.items():
            sys.stdout.write(f"  {figure}: {value}\n")
        for finding in outcome.findings:
            sys.stdout.write(f"  ! {finding}\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
