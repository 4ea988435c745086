"""`make bench`: a table (figure, CPU per operation, target), and the same as JSON under build/."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mesh import ROOT
from tests.perf import analysis, circuits, fabric, jobs, kernels, noise, overlap, pulls, wide
from tests.perf.figure import Figure

_BENCHES = {
    "analysis": analysis.run,
    "circuits": circuits.run,
    "fabric": fabric.run,
    "jobs": jobs.run,
    "kernels": kernels.run,
    "noise": noise.run,
    "overlap": overlap.run,
    "pulls": pulls.run,
    "wide": wide.run,
}


def main() -> int:
    """Runs the chosen benchmarks; 0 whatever they show, since figures are read, not asserted."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...")
    parser.add_argument(
        "--only", choices=sorted(_BENCHES), action="append", help="this part only (may be repeated)"
    )
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "bench.json", help="where the JSON goes"
    )
    options = parser.parse_args()
    figures: list[Figure] = []
    for name in options.only or _BENCHES:
        sys.stderr.write(f"bench: {name} (load average {os.getloadavg()[0]:.1f})\n")
        figures += _BENCHES[name]()
    table = Table(title=f"qmesh on {os.cpu_count()} cores")
    for column in ("figure", "measured", "CPU per operation", "target", "aim", "how"):
        table.add_column(column, overflow="fold")
    for figure in figures:
        style = None if figure.met is None else ("green" if figure.met else "red")
        table.add_row(
            figure.name,
            figure.text(figure.value),
            "" if figure.cpu_ms is None else f"{figure.cpu_ms:.2f} ms",
            figure.bound(figure.target),
            figure.bound(figure.aim),
            figure.how,
            style=style,
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    document = {
        "commit": commit.stdout.strip(),
        "command": "make bench",
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "load": os.getloadavg()},
        "figures": [figure.document() for figure in figures],
    }
    options.json.write_text(json.dumps(document, indent=1))
    sys.stderr.write(f"bench: JSON in {options.json}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
