"""A million mutated circuits (SOAK_RUNS: others): none ends in anything but a circuit or a diagnosis, within bounds of time and memory."""

from __future__ import annotations

import os
from typing import Final

from tests.fuzz import campaign
from tests.mesh import ROOT
from tests.soak.evidence import Evidence

_RUNS: Final = int(os.environ.get("SOAK_RUNS", "1000000"))
_SEED: Final = 20261130


def run() -> Evidence:
    """One campaign."""
    outcome = campaign.run(_RUNS, ROOT / "build" / "fuzz" / "soak", _SEED)
    return Evidence("fuzz", not outcome.findings, outcome.figures, outcome.findings)
