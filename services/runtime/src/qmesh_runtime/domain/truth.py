"""One recorded block, as the result tells it."""

from __future__ import annotations

from dataclasses import dataclass, field

from qmesh.fabric.v1 import gate_pb2 as gate


@dataclass(frozen=True, slots=True)
class BlockTruth:
    """A block's signed record with the attempts that led to it."""

    record: gate.ExecutionRecord
    signature: bytes
    parameter_set: int
    slice: int
    stage: int
    recovered: bool = False
    attempts: list[dict[str, object]] = field(default_factory=list)
