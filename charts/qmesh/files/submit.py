"""Submits a circuit whose counts are known, twice with one seed, and checks them: what `helm test` runs."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

CIRCUIT = """OPENQASM 3;
qubit[2] q;
bit[2] c;
bell_pair q[0], q[1];
c[0] = measure q[0];
c[1] = measure q[1];
"""
SHOTS, SEED = 1000, 7
LEAST, MOST = 400, 600  # shots with 00; by chance outside once in 10^10 seeds
GATEWAY = os.environ["GATEWAY"]
KEY = Path("/etc/qmesh/api-key/api-key").read_text(encoding="utf-8").strip()
DEADLINE = time.monotonic() + 100


def call(method: str, path: str, body: object = None) -> dict[str, Any]:
    """One request to the gateway."""
    request = urllib.request.Request(  # noqa: S310 - the chart's own address
        GATEWAY + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        found: dict[str, Any] = json.load(answer)
        return found


def patiently(step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Repeats a step while the mesh is on its way up."""
    while True:
        try:
            return step()
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                sys.exit(f"{error.url}: {error.code} {error.read().decode()}")
            if time.monotonic() > DEADLINE:
                sys.exit(f"the gateway does not serve: {error}")
            time.sleep(1)


def counts() -> dict[str, int]:
    """Counts of one job."""
    body = {"circuit": CIRCUIT, "shots": SHOTS, "seed": SEED}
    job = patiently(lambda: call("POST", "/api/v1/circuits/submit", body))["job_id"]
    while time.monotonic() < DEADLINE:
        document = patiently(lambda: call("GET", f"/api/v1/jobs/{job}"))
        if document["status"] == "COMPLETED":
            found: dict[str, int] = document["result"]["quantum_result"]["counts"]
            return found
        if document["status"] in {"FAILED", "CANCELED"}:
            sys.exit(f"job {job}: {json.dumps(document.get('error'))}")
        time.sleep(0.2)
    sys.exit(f"job {job} was not done in time")


first, second = counts(), counts()
print(first)
if sum(first.values()) != SHOTS or not set(first) <= {"00", "11"}:
    sys.exit("a Bell pair measured twice gives 00 and 11 only, each shot one of them")
if not LEAST <= first.get("00", 0) <= MOST:
    sys.exit("the counts of a Bell pair are about equal")
if first != second:
    sys.exit(f"one seed gave other counts: {second}")
