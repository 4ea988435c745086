"""What a fragment showed while it was executed, and the signed account of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_node.domain import noise
from qmesh_node.domain.bits import Column


@dataclass(slots=True)
class FragmentTally:
    """What one fragment showed.

    Attributes:
        good: shots without a drawn error; None before the first draw.
        idle: shots in which waiting left an error; None where nothing waited.
    """

    started_at: float = 0.0
    finished_at: float = 0.0
    shots: int = 0
    good: Column | None = None
    idle: Column | None = None
    reads: int = 0
    reads_right: int = 0
    qubits: int = 1
    measured: bool = False
    detail: dict[str, object] = field(default_factory=dict)

    def note_errors(self, wrong: Column) -> None:
        """Notes the shots in which an error was drawn."""
        self.good = ~wrong if self.good is None else self.good & ~wrong

    def note_idle(self, wrong: Column) -> None:
        """Notes the shots in which waiting left an error."""
        self.idle = wrong if self.idle is None else self.idle | wrong

    def note_read(self, flips: Column | None, active: Column | None) -> None:
        """Notes one bit that was read in the active shots, and where it was flipped."""
        self.measured = True
        read = self.shots if active is None else int(np.count_nonzero(active))
        wrong = 0 if flips is None else int(np.count_nonzero(flips if active is None else flips & active))
        self.reads += read
        self.reads_right += read - wrong

    def estimate(self) -> tuple[noise.Estimate, float]:
        """Observed fidelity with its interval, and the process fidelity, of a fragment executed with noise."""
        if self.measured:
            read = noise.wilson(self.reads_right, self.reads)
            return read, read.value
        good = self.shots if self.good is None else int(np.count_nonzero(self.good))
        fraction = noise.wilson(good, self.shots)
        return noise.average_gate_fidelity(fraction, self.qubits), fraction.value


def fragment_message(
    header: gate.FragmentHeader, tally: FragmentTally, *, noisy: bool, ebits: Sequence[gate.EbitUse]
) -> gate.FragmentResult:
    """The signed account of one fragment."""
    estimate, process = tally.estimate() if noisy else (noise.Estimate(1.0, 1.0, 1.0), 1.0)
    return gate.FragmentResult(
        fragment_id=header.fragment_id,
        started_at=tally.started_at,
        finished_at=tally.finished_at,
        observed_fidelity=estimate.value,
        fidelity_low=estimate.low,
        fidelity_high=estimate.high,
        fidelity_source="sampled" if noisy else "exact",
        process_fidelity=process,
        model_start_ns=header.planned_start_ns,
        gate_ns=header.gate_ns,
        link_wait_ns=header.link_wait_ns,
        idle_ns=header.idle_ns,
        ebits=ebits,
        idle_error=0.0 if tally.idle is None else float(np.mean(tally.idle)),
        detail_json=orjson.dumps(tally.detail) if tally.detail else b"",
    )
