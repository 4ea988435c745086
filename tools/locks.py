"""Checks that locks/ fit the pyproject.toml files: every requirement is pinned, and no lock carries what it has no use for.

Works offline, from the metadata of the installed packages.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def _pins(path: Path) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in _PIN.findall(path.read_text())}


def _members() -> dict[str, dict[str, Any]]:
    files = [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    files += ROOT.glob("deploy/*/pyproject.toml")
    return {project["name"]: project for project in (tomllib.loads(f.read_text())["project"] for f in files)}


def _needs(requirement: Requirement, members: dict[str, dict[str, Any]]) -> list[Requirement]:
    """What one requirement asks for in its turn."""
    extras = requirement.extras or {""}
    name = canonicalize_name(requirement.name)
    if name in members:
        project = members[name]
        lines = list(project.get("dependencies", []))
        optional = project.get("optional-dependencies", {})
        for extra in requirement.extras:
            lines += optional[extra]
    else:
        lines = importlib.metadata.requires(requirement.name) or []
    found = [Requirement(line) for line in lines]
    return [need for need in found if _applies(need, extras)]


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)


def _closure(roots: Iterable[Requirement], members: dict[str, dict[str, Any]]) -> list[Requirement]:
    """Every requirement on something outside the workspace that follows from `roots`."""
    queue, seen, outside = list(roots), set(), []
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras), str(requirement.specifier))
        if key in seen:
            continue
        seen.add(key)
        if key[0] not in members:
            outside.append(requirement)
        queue += _needs(requirement, members)
    return outside


def _problems(lock: Path, roots: list[Requirement], members: dict[str, dict[str, Any]]) -> list[str]:
    pins, problems = _pins(lock), []
    needed = _closure(roots, members)
    for requirement in needed:
        version = pins.get(canonicalize_name(requirement.name))
        if version is None:
            problems.append(f"{lock.name}: {requirement} is not pinned")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{lock.name}: {requirement} is pinned to {version}")
    names = {canonicalize_name(requirement.name) for requirement in needed}
    problems += [f"{lock.name}: nothing needs {name}" for name in sorted(set(pins) - names)]
    return problems


def main() -> int:
    """Prints what does not fit; 1 if anything does not."""
    members = _members()
    development = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    everything = [Requirement(line) for line in development]
    for name, project in members.items():
        extras = ",".join(project.get("optional-dependencies", {}))
        everything.append(Requirement(f"{name}[{extras}]" if extras else name))
    problems = _problems(ROOT / "locks/dev.txt", everything, members)
    dev = _pins(ROOT / "locks/dev.txt")
    for name in members:
        lock = ROOT / "locks" / f"{name.removeprefix('qmesh-')}.txt"
        if not lock.exists():
            continue
        problems += _problems(lock, [Requirement(name)], members)
        problems += [
            f"{lock.name}: {package} is {version}, but {dev.get(package)} in dev.txt"
            for package, version in _pins(lock).items()
            if dev.get(package) != version
        ]
    for problem in problems:
        print(problem)
    if problems:
        print("the locks do not fit the pyproject.toml files; run 'make locks'")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
