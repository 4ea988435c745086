"""What executions showed of nodes: smoothed failures, and fidelity by service."""

from __future__ import annotations

from dataclasses import dataclass, field

from qmesh.registry.v1 import registry_pb2 as pb

_ALPHA = 0.1
_STEP = 50


@dataclass(slots=True)
class Observed:
    """Smoothed observations of one node."""

    failure: float = 0.0
    samples: dict[str, int] = field(default_factory=dict)
    fidelity: dict[str, float] = field(default_factory=dict)

    def take(self, observation: pb.Observation) -> None:
        """Takes one execution in."""
        self.failure += _ALPHA * ((0.0 if observation.success else 1.0) - self.failure)
        if observation.success and observation.sampled:
            name = observation.service_type
            count = self.samples.get(name, 0) + 1
            self.samples[name] = count
            mean = self.fidelity.get(name, observation.fidelity)
            self.fidelity[name] = mean + (observation.fidelity - mean) / count

    @property
    def failure_permille(self) -> int:
        """Failures per thousand, quantised so that small changes make no new snapshot."""
        return round(self.failure * 1000 / _STEP) * _STEP

    def services(self) -> list[pb.ObservedService]:
        """Observed fidelities, sorted; sample counts are rounded down to powers of two, fidelities to 0.001."""
        return [
            pb.ObservedService(
                service_type=name,
                samples=1 << (self.samples[name].bit_length() - 1),
                mean_fidelity=round(self.fidelity[name], 3),
            )
            for name in sorted(self.samples)
        ]
