"""The start of a service that has patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from qmesh_kit import runner
from qmesh_kit.errors import ServiceError
from qmesh_kit.runner import Service, attend
from qmesh_kit.settings import BaseMeshSettings, ServiceSection


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that needs nothing, and pauses shortly."""
    monkeypatch.setattr(runner, "_PAUSE", 0.001)
    return Service("kit-test", BaseMeshSettings.from_environ({"QMESH_PATIENCE": "30s"}), ServiceSection())


async def _attend(service: Service, main: Callable[[], object]) -> None:
    async def body() -> None:
        main()

    async with asyncio.timeout(10):
        await attend("kit-test", service, service.settings, body)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for part in group.exceptions for leaf in (_leaves(part) if isinstance(part, BaseExceptionGroup) else [part])]  # fmt: skip


async def test_a_start_that_finds_a_slow_dependency_is_begun_again(service: Service) -> None:
    """A database that does not answer in time is asked again; the process does not end."""
    starts = []

    def main() -> None:
        starts.append(1)
        if len(starts) < 3:
            raise ExceptionGroup("start", [ServiceError("UNAVAILABLE", "the database does not answer")])

    await _attend(service, main)
    assert len(starts) == 3


async def test_an_unforeseen_error_ends_the_start(service: Service) -> None:
    """What no time can mend is raised at once."""
    starts = []

    def main() -> None:
        starts.append(1)
        raise KeyError("a mistake of ours")

    with pytest.raises(ExceptionGroup) as ended:
        await _attend(service, main)
    assert isinstance(_leaves(ended.value)[0], KeyError)
    assert len(starts) == 1


async def test_a_service_that_was_ready_is_not_begun_again(service: Service) -> None:
    """After it took work, a loss that its main does not bear ends the process."""
    starts = []

    def main() -> None:
        starts.append(1)
        service.ready({})
        raise ServiceError("UNAVAILABLE", "gone")

    with pytest.raises(ExceptionGroup) as ended:
        await _attend(service, main)
    assert isinstance(_leaves(ended.value)[0], ServiceError)
    assert len(starts) == 1


async def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is over, the last reason is raised."""
    monkeypatch.setattr(runner, "_PAUSE", 0.001)
    service = Service("kit-test", BaseMeshSettings.from_environ({"QMESH_PATIENCE": "50ms"}), ServiceSection())

    def main() -> None:
        raise ServiceError("UNAVAILABLE", "the database does not answer")

    with pytest.raises(ExceptionGroup) as ended:
        await _attend(service, main)
    assert "does not answer" in str(_leaves(ended.value)[0])
