"""Checks what no linter knows: the repository names no machine, no registry host and no absolute home of a developer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_REGISTRIES = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("crates", "io"),
    ("proxy", "golang", "org"),
)
_HOSTS = "|".join(re.escape(".".join(parts)) for parts in _REGISTRIES)
_FORBIDDEN = {
    "an absolute path of somebody's machine": re.compile(
        r"(?<![\w.])/(?:work|root|home/[a-z]+|Users)/[\w.-]+"
    ),
    "a package registry's address": re.compile(rf"\b(?:[\w-]+\.)*(?:{_HOSTS})\b|index-url|GOPROXY[=]"),
    "a conflict marker": re.compile(r"^(?:<{7} |>{7} )", re.MULTILINE),
    "an open end without an issue": re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))"),
}
_SELF = "tools/repository.py"


def main() -> int:
    """Prints each place; 1 if there is any."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    found = 0
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if not name or name == _SELF or not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for what, pattern in _FORBIDDEN.items():
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                print(f"{name}:{line}: {what}: {match.group()!r}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
