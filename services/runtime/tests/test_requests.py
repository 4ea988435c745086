"""Requests of blocks: pairs and waiting times reach the operations that they belong to."""

from __future__ import annotations

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh_runtime.domain.requests import operations_of, pairs_of


def _plan() -> planning.Plan:
    """Operation 1 begins a packet that 3 shares, and drives wire 2 out of its home; 4 is the next on wire 2."""
    plan = planning.Plan()
    for number, wires in ((1, (0, 1)), (3, (0, 1)), (4, (2,))):
        plan.fragments.add(
            fragment_id=f"0.{number}",
            wires=sorted(wires),
            wire_idle_ns=[10 * number + w for w in sorted(wires)],
        )
        block = plan.blocks.add(block_id=len(plan.blocks), fragments=[len(plan.fragments) - 1])
        block.operations.add(operation=number, wires=wires, fragment=len(plan.fragments) - 1)
    plan.ebits.add(pair=0, wire=0, kind="cat", operation=1, packet=[1, 3], fidelity=0.9)
    plan.ebits.add(pair=1, wire=2, kind="teleport", operation=1, packet=[1], fidelity=0.8)
    plan.ebits.add(pair=2, wire=1, kind="cat", operation=3, packet=[3], fidelity=0.7)
    return plan


def test_each_pair_is_at_every_operation_of_its_packet() -> None:
    """Counted once, drawn by its first operation and its place there; a wire that is driven out has it at its next operation."""
    used = pairs_of(_plan())
    seen = {at: [(use.pair, use.operation, use.draw, use.again) for use in uses] for at, uses in used.items()}
    assert seen == {1: [(0, 1, 0, False)], 3: [(0, 1, 0, True), (2, 3, 0, False)], 4: [(1, 1, 1, False)]}


def test_the_first_operation_of_a_fragment_has_the_waiting_times_of_its_wires() -> None:
    """In the order of the operation's wires, once for each fragment."""
    plan = _plan()
    plan.blocks[0].operations[0].wires[:] = [1, 0]
    plan.blocks[0].operations.add(operation=2, wires=[0, 1], fragment=0)
    form = circuit.Circuit(operations=[circuit.Operation(index=number) for number in range(5)])
    operations, _ = operations_of(plan, plan.blocks[0], form, pairs_of(plan))
    assert [list(operation.idle_ns) for operation in operations] == [[11, 10], []]
