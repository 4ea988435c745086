"""Metrics of one process: its own registry, build information, cached children."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one process; peer-controlled values are never labels."""

    def __init__(self, service: str, version: str = "0.1.0") -> None:
        """Takes the name of the service."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        info = Gauge("qmesh_build_info", "Build", ["service", "version"], registry=self.registry)
        info.labels(service, version).set(1)

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A counter."""
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A gauge."""
        return Gauge(name, text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        """A histogram of seconds."""
        return Histogram(name, text, labels, registry=self.registry, buckets=_BUCKETS)

    def render(self) -> bytes:
        """Text exposition."""
        return generate_latest(self.registry)
