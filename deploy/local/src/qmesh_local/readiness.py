"""Whether a mesh whose processes are all up can plan over all its nodes: their adverts take a moment to get around."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROBE = json.dumps({"circuit": "OPENQASM 3;\nqubit q;\nbit c;\nc = measure q;\n", "shots": 1})
_PATH = "/api/v1/circuits/compile"
_PAUSE = 0.05
_CALL_SECONDS = 5.0


async def plans_over(port: int, nodes: int, seconds: float) -> bool:
    """Asks for a plan of one measurement until every node has been considered for it; False when time runs out."""
    headers = {"content-type": "application/json"} | _authorization(os.environ)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await asyncio.to_thread(_considered, port, headers) >= nodes:
            return True
        await asyncio.sleep(_PAUSE)
    return False


def _considered(port: int, headers: Mapping[str, str]) -> int:
    """Nodes that the planner knows, by the candidates of a plan and those that it excluded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_CALL_SECONDS)
    try:
        connection.request("POST", _PATH, _PROBE, dict(headers))
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return 0
    finally:
        connection.close()
    assignments: list[dict[str, Any]] = document.get("assignments", [])
    if not assignments:
        return 0
    return len(assignments[0]["candidates"]) + int(sum(assignments[0]["excluded"].values()))


def _authorization(environ: Mapping[str, str]) -> dict[str, str]:
    """The bootstrap key, where the gateway is given one."""
    key = environ.get("QMESH_GATEWAY__API_KEY", "").strip()
    file = environ.get("QMESH_GATEWAY__API_KEY_FILE", "").strip()
    if not key and file:
        key = Path(file).read_text("utf-8-sig").strip()
    return {"authorization": f"Bearer {key}"} if key else {}
