"""Five hundred generated programs under every split: counts that are equal, and Qiskit's distribution."""

from __future__ import annotations

from tests.physics.splits import try_splits
from tests.soak.evidence import Evidence

_PROGRAMS = 500
_BASE = 2_000_000
_SHOTS = 2048
_LEAST = 1e-4


def run() -> Evidence:
    """Programs of 1 to 10 qubits with all gates and service words over one to five nodes."""
    found = [try_splits(_BASE + seed, max_qubits=10, shots=_SHOTS) for seed in range(_PROGRAMS)]
    findings = [finding for one in found for finding in one.findings]
    findings += [
        f"seed {_BASE + seed}: counts do not fit the exact distribution, P = {one.fit:.1e}"
        for seed, one in enumerate(found)
        if one.fit < _LEAST / _PROGRAMS
    ]
    figures = {
        "programs": len(found),
        "qubits": "1 to 10",
        "with measurement, reset or condition before the end": sum(one.dynamic for one in found),
        "plans executed, each from amplitudes and from tableaux": sum(one.plans for one in found),
        "topologies that were too small for a code block": sum(one.refused for one in found),
        "programs over several nodes": sum(one.nodes > 1 for one in found),
        "blocks": sum(one.blocks for one in found),
        "blocks executed again on their recorded bits": sum(one.again for one in found),
        "smallest P value of a chi-square against Qiskit": min(one.fit for one in found),
        "states without randomness, largest 1 - fidelity allowed": 1e-10,
    }
    return Evidence("splits", not findings, figures, findings)
