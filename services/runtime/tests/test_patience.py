"""Services that are away are asked again; refusals are not."""

from __future__ import annotations

import time

import pytest

from qmesh_kit.errors import ServiceError
from qmesh_runtime.application.patience import patiently
from qmesh_runtime.domain.policy import RetryPolicy

QUICK = RetryPolicy(initial_seconds=0.001, maximum_seconds=0.001)


class _Service:
    """Fails as told, then answers."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        if self.codes:
            raise ServiceError(self.codes.pop(0), "told to")
        return "answer"


async def test_a_service_that_is_away_is_asked_again() -> None:
    """Three failures of a service that starts are followed by its answer."""
    service = _Service("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAVAILABLE")
    assert await patiently(service.ask, "plan", time.time() + 10, QUICK) == "answer"
    assert service.calls == 4


async def test_a_refusal_is_final() -> None:
    """What the mesh refuses is not asked twice."""
    service = _Service("NO_CAPABLE_NODE")
    with pytest.raises(ServiceError) as refused:
        await patiently(service.ask, "plan", time.time() + 10, QUICK)
    assert (refused.value.code, service.calls) == ("NO_CAPABLE_NODE", 1)


async def test_patience_ends_with_the_deadline() -> None:
    """After the job's deadline the last failure is raised."""
    service = _Service(*["UNAVAILABLE"] * 10_000)
    begun = time.monotonic()
    with pytest.raises(ServiceError) as failed:
        await patiently(service.ask, "plan", time.time() + 0.2, QUICK)
    assert failed.value.code == "UNAVAILABLE"
    assert time.monotonic() - begun < 5
