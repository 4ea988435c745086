"""`make soak`: the acceptance lines at their full size; evidence under docs/evidence."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping

from tests.soak import circuits, codes, faults, fidelity, fuzz, ion, splits
from tests.soak.evidence import DIRTY, Evidence, commit_here

_SOAKS: Mapping[str, Callable[[], Evidence]] = {
    "circuits": circuits.run,
    "codes": codes.run,
    "faults": faults.run,
    "fidelity": fidelity.run,
    "fuzz": fuzz.run,
    "ion": ion.run,
    "splits": splits.run,
}


def main() -> int:
    """Runs the chosen soaks; 1 when one of them found something."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=...")
    parser.add_argument(
        "--only", choices=sorted(_SOAKS), action="append", help="this one only (may be repeated)"
    )
    options = parser.parse_args()
    bad = False
    for name in options.only or _SOAKS:
        begun, commit = time.monotonic(), commit_here()
        evidence = _SOAKS[name]()
        evidence.write(time.monotonic() - begun, commit)
        bad |= not evidence.passed
        sys.stdout.write(f"{name}: {'passed' if evidence.passed else 'FAILED'}\n")
        if commit.endswith(DIRTY):
            sys.stdout.write("  ! the checkout has changes, so that this is evidence of no commit\n")
        for figure, value in evidence.figures.items():
            sys.stdout.write(f"  {figure}: {value}\n")
        for finding in evidence.findings:
            sys.stdout.write(f"  ! {finding}\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
