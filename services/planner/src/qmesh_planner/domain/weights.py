"""Weights and bounds of planning; part of every plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights in nano-units: a millisecond of latency is 10^6, an e-bit 5 x 10^7 by default."""

    latency: int = 1_000
    risk: int = 20_000
    ebit: int = 50_000_000
    load: int = 2_000


@dataclass(frozen=True, slots=True)
class Demand:
    """What the job asks for, as far as a plan depends on it."""

    shots: int
    noise: bool
    amplitude_bytes: int = 16
