"""What a soak found, as JSON under docs/evidence: commit, command, machine, figures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.mesh import ROOT

FOLDER = ROOT / "docs" / "evidence"
DIRTY = "-dirty"
"""Ends the commit of a checkout with changes."""


@dataclass(slots=True)
class Evidence:
    """One soak.

    Attributes:
        name: of the soak; its file's name.
        passed: whether everything that must hold did.
        figures: what was counted and measured.
        findings: what did not hold, in words; empty when `passed`.
    """

    name: str
    passed: bool
    figures: Mapping[str, Any]
    findings: list[str] = field(default_factory=list)

    def write(self, seconds: float, commit: str) -> None:
        """Writes docs/evidence/NAME.json: how long it took, and what was tried."""
        document = {
            "soak": self.name,
            "passed": self.passed,
            "commit": commit,
            "command": f"make soak ARGS='--only {self.name}'",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(seconds),
            "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
            "figures": dict(self.figures),
            "findings": self.findings,
        }
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_table(
    name: str, title: str, text: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Writes docs/evidence/NAME.md: a title, a text and one table."""
    lines = [f"# {title}", "", text, "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text("\n".join([*lines, ""]))


def commit_here() -> str:
    """The commit of the checkout; marked when the checkout has changes besides evidence."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!docs/evidence")
    return git("rev-parse", "HEAD") + (DIRTY if changed else "")
