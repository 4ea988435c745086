"""Services that are away are asked again; refusals are not."""

from __future__ import annotations

import time

import pytest

from qmesh_kit.errors import ServiceError
from qmesh_runtime.application.patience import if_told, patiently
from qmesh_runtime.domain.policy import RetryPolicy

QUICK = RetryPolicy(initial_seconds=0.001, maximum_seconds=0.001)


class _Service:
    """Fails as told, then answers."""

    def __init__(self, *codes: str, retry_after: float | None = None) -> None:
        self.codes = list(codes)
        self.calls = 0
        self.retry_after = retry_after

    async def ask(self) -> str:
        self.calls += 1
        if self.codes:
            raise ServiceError(self.codes.pop(0), "told to", retry_after=self.retry_after)
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


async def test_what_a_job_can_do_without_is_asked_again_where_told() -> None:
    """Two failures that say when to come again are followed by the answer; a third would be the last."""
    service = _Service("UNAVAILABLE", "ANALYZER_WORKER_LOST", retry_after=0.001)
    assert await if_told(service.ask, "analysis") == "answer"
    assert service.calls == 3
    away = _Service(*["UNAVAILABLE"] * 10, retry_after=0.001)
    with pytest.raises(ServiceError):
        await if_told(away.ask, "analysis")
    assert away.calls == 3


@pytest.mark.parametrize("code", ["ANALYZER_RESOURCE", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT"])
async def test_what_would_fail_again_is_not_repeated(code: str) -> None:
    """An analysis that needs too much memory or time is not computed three times."""
    service = _Service(code)
    with pytest.raises(ServiceError) as failed:
        await if_told(service.ask, "analysis")
    assert (failed.value.code, service.calls) == (code, 1)
