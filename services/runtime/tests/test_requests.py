"""What the requests of a plan ask for, and what is kept of their answers."""

from __future__ import annotations

import hashlib

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_runtime.domain.requests import RunKey, RunState, last_versions


def test_last_versions_are_those_of_components_that_live_to_the_end() -> None:
    """Component 0 ends in another one; component 1 has two versions, of which the second is the last."""
    use = planning.ComponentUse
    plan = planning.Plan(
        chains=[planning.ComponentChain(component=0), planning.ComponentChain(component=1, final=True)],
        blocks=[
            planning.Block(block_id=0, outputs=[use(component=0, position=0), use(component=1, position=0)]),
            planning.Block(block_id=1, outputs=[use(component=1, position=1)]),
        ],
    )
    assert last_versions(plan) == {1: 1}


def test_only_versions_that_the_signed_record_names_are_kept() -> None:
    """Bytes with another digest, or of a version that the record does not name, are as if they had not come."""
    digest = hashlib.sha256(b"rows").digest()
    named = state.ComponentRef(id=state.ComponentId(component=1, position=2), digest=digest)
    record = gate.ExecutionRecord(produced=[named])
    run = RunState(RunKey(0, 0, 0, 8))
    for component, data in ((1, b"else"), (3, b"rows")):
        run.keep([gate.VersionBytes(component=component, position=2, data=data, rows_bytes=2)], record)
    assert run.versions == {}
    run.keep([gate.VersionBytes(component=1, position=2, data=b"rows", rows_bytes=2)], record)
    assert run.versions == {digest: (b"rows", 2)}
