"""What a job holds is given back at its end, whoever took it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh.reservation.v1 import reservation_pb2 as pb
from qmesh_kit.errors import ServiceError
from qmesh_runtime.application.reserving import JobReservations
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.ports import Compiled


class Held:
    """A reservation service that takes what it is asked for, then answers as told."""

    def __init__(self, *failures: str) -> None:
        self.failures = list(failures)
        self.held: list[str] = []
        self.ended: list[str] = []

    async def reserve(self, request: pb.ReserveRequest) -> Sequence[pb.Reservation]:
        """Takes; its answer may be lost."""
        self.held += [line.node_id for line in request.lines]
        if self.failures:
            raise ServiceError(self.failures.pop(0), "no answer")
        return [pb.Reservation(reservation_id="r", line=line, token=b"token") for line in request.lines]

    async def cancel(self, _tenant: str, _job: str, reason: str) -> None:
        """Gives back."""
        self.ended.append(reason)
        self.held.clear()

    async def mark_executed(self, *_: Any) -> None:
        """Gives back as used."""
        self.held.clear()

    async def extend(self, *_: Any) -> Sequence[pb.Reservation]:
        """Nothing lives."""
        return []


def claim(fence: int = 1) -> Claim:
    """A claim of one hour."""
    return Claim("job", "t", fence, 1, 1, 1, 4e9, cancel_requested=False, plan_ids=(), request=b"")


@pytest.fixture
def compiled() -> Compiled:
    """A plan that asks one node for two qubits."""
    plan = planning.Plan(plan_id="p", demands=[planning.NodeDemand(node_id="a", data_qubits=2, executions=1)])
    return Compiled(plan, {"a": registry.Node(node_id="a")})


async def test_what_an_earlier_owner_took_is_given_back_by_a_job_that_fails_at_once() -> None:
    """A claim after the first cancels what the dead owner held, though it took nothing itself."""
    service = Held()
    service.held = ["a"]
    await JobReservations(service, claim(fence=2), 0.0).give_back("job ended")
    assert service.held == []


async def test_what_an_unanswered_call_took_is_given_back(compiled: Compiled) -> None:
    """A reservation whose answer was lost by a refusal is not left behind."""
    service = Held("INTERNAL")
    held = JobReservations(service, claim(), 0.0)
    with pytest.raises(ServiceError):
        await held.take(compiled, 5.0)
    await held.give_back("job ended")
    assert (service.held, service.ended) == ([], ["job ended"])


async def test_a_lost_call_is_undone_before_it_is_made_again(compiled: Compiled) -> None:
    """When the service was away, what the call may have taken is given back first; nothing is held twice."""
    service = Held("UNAVAILABLE", "DEADLINE_EXCEEDED")
    held = JobReservations(service, claim(), 0.0)
    await held.take(compiled, 30.0)
    assert (service.held, service.ended) == (["a"], ["asked again", "asked again"])


async def test_a_job_that_never_asked_calls_nobody() -> None:
    """The end of a job that reserved nothing needs no reservation service."""
    service = Held()
    await JobReservations(service, claim(), 0.0).give_back("job ended")
    assert service.ended == []
