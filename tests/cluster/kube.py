"""kubectl and helm, as an operator types them; every command has a deadline."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mesh import until

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "qmesh"
_SECONDS = 60.0


class CommandError(Exception):
    """A command ended with an error; holds what it said."""


def run(*command: str, timeout: float = _SECONDS, stdin: str | None = None) -> str:
    """Output of a command.

    Raises:
        CommandError: it failed, or took too long.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, input=stdin, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"{' '.join(command[:4])} took more than {timeout:g} s") from None
    if done.returncode:
        raise CommandError((done.stderr.strip() or done.stdout.strip())[-4000:])
    return done.stdout


def eventually[T](seconds: float, what: str, look: Callable[[], T | None]) -> T:
    """What `look` finds, as soon as it finds something; a command that fails is tried again."""

    def guarded() -> T | None:
        try:
            return look()
        except CommandError:
            return None

    return until(guarded, what, timeout=seconds, pause=0.2)


class Namespace:
    """One namespace of the cluster."""

    def __init__(self, name: str) -> None:
        """Takes its name; `create` makes it."""
        self.name = name

    def create(self) -> None:
        """Makes it, with Pod Security restricted."""
        run("kubectl", "create", "namespace", self.name)
        run("kubectl", "label", "namespace", self.name, "pod-security.kubernetes.io/enforce=restricted")

    def delete(self) -> None:
        """Removes it with everything in it."""
        run("kubectl", "delete", "namespace", self.name, "--ignore-not-found", "--timeout=120s", timeout=150)

    def kubectl(self, *words: str, timeout: float = _SECONDS, stdin: str | None = None) -> str:
        """Output of kubectl in this namespace."""
        return run("kubectl", "-n", self.name, *words, timeout=timeout, stdin=stdin)

    def helm(self, *words: str, timeout: float = 300.0) -> str:
        """Output of helm in this namespace."""
        return run("helm", "-n", self.name, *words, timeout=timeout)

    def get(self, *words: str) -> dict[str, Any]:
        """Objects as JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods that a label selector chooses, and that are not on their way out."""
        items: list[dict[str, Any]] = self.get("pods", "-l", selector)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def python(self, pod: str, program: str, *, timeout: float = 30.0) -> str:
        """Output of a Python program in a pod of the mesh."""
        return self.kubectl("exec", pod, "--", "python", "-I", "-c", program, timeout=timeout)


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready."""
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
