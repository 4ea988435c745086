"""Claims jobs, runs them side by side, keeps their leases, and gives them back when the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from qmesh_kit.errors import is_foreseen
from qmesh_runtime.application.processor import JobProcessor, Services
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.ports import JobStore, StaleClaimError

log = structlog.get_logger()

_SWEEP_SECONDS = 1.0
_HEARTBEATS = 3


@dataclass(slots=True)
class _Running:
    claim: Claim
    processor: JobProcessor
    task: asyncio.Task[None]


class Worker:
    """All jobs that this replica owns."""

    def __init__(self, services: Services, store: JobStore, lease_seconds: float, max_jobs: int) -> None:
        """Takes what jobs need; `run` starts it."""
        self._services = services
        self._store = store
        self._lease = lease_seconds
        self._max = max_jobs
        self._running: dict[str, _Running] = {}
        self._doorbell: dict[str, None] = {}
        self._rung = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._group: asyncio.TaskGroup | None = None
        self._draining = False

    @property
    def active(self) -> int:
        """Jobs in process."""
        return len(self._running)

    def wake(self, job_id: str) -> None:
        """A job may wait; a job that is known already is no news."""
        if job_id not in self._running and not self._draining:
            self._doorbell[job_id] = None
            self._rung.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until it is cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self._group.create_task(self._beat())
            self._group.create_task(self._sweep())
            while not stopping.is_set():
                await self._rung.wait()
                self._rung.clear()
                await self._claim_rung()

    async def _claim_rung(self) -> None:
        """Claims what the doorbell named, as far as there is room; the rest waits for a job to end or the sweep."""
        while self._doorbell and not self._draining:
            room = self._max - len(self._running)
            if room <= 0:
                return
            names = list(self._doorbell)[:room]
            for name in names:
                del self._doorbell[name]
            await self._claim(names, len(names))

    async def _claim(self, names: Sequence[str], limit: int) -> None:
        try:
            claims = await self._store.claim(names, limit)
        except Exception as error:
            if not is_foreseen(error):
                raise
            log.warning("claim failed", error=repr(error)[:200])
            return
        for claim in claims:
            self._begin(claim)

    def _begin(self, claim: Claim) -> None:
        if self._group is None:
            return
        processor = JobProcessor(self._services, claim)
        task = self._group.create_task(self._process(processor, claim))
        self._running[claim.job_id] = _Running(claim, processor, task)
        self._idle.clear()

    async def _process(self, processor: JobProcessor, claim: Claim) -> None:
        try:
            await processor.process()
        except StaleClaimError as error:
            log.warning("a job was let go", job_id=claim.job_id, fence=claim.fence, reason=str(error))
            await self._let_go([claim])
        except Exception:  # one job must not end the others; its lease runs out and it is claimed again
            log.exception("a job stopped unexpectedly", job_id=claim.job_id)
        finally:
            known = self._running.get(claim.job_id)
            if known is not None and known.processor is processor:
                del self._running[claim.job_id]
            if not self._running:
                self._idle.set()
            if self._doorbell:
                self._rung.set()

    async def _let_go(self, claims: Sequence[Claim]) -> None:
        """Gives leases back at once; where that fails they run out."""
        try:
            await self._store.let_go(claims)
        except Exception as error:
            if not is_foreseen(error):
                raise
            log.warning("leases were not given back", error=repr(error)[:200])

    async def cancel(self, job_id: str) -> None:
        """Ends a job by the user's wish: the owner does it, or whoever can claim it."""
        running = self._running.get(job_id)
        if running is None:
            self.wake(job_id)
            return
        running.task.cancel()
        await asyncio.wait([running.task])
        try:
            await running.processor.cancel()
        except StaleClaimError:
            log.info("a job ended before it could be canceled", job_id=job_id)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease / _HEARTBEATS)
            mine = dict(self._running)
            if not mine:
                continue
            try:
                held = await self._store.heartbeat([running.claim for running in mine.values()])
            except Exception as error:
                if not is_foreseen(error):
                    raise
                log.warning("heartbeat failed", error=repr(error)[:200])
                continue
            for job_id in mine.keys() - held:
                running = self._running.get(job_id)
                # one that has ended has no lease any more, and still gives its reservations back
                if running is mine[job_id] and not running.processor.ended:
                    log.warning("a lease was lost", job_id=job_id)
                    mine[job_id].task.cancel()
            await asyncio.gather(*(running.processor.keep() for running in list(self._running.values())))

    async def _sweep(self) -> None:
        while True:
            room = self._max - len(self._running)
            if room > 0 and not self._draining:
                await self._claim((), room)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def drain(self, seconds: float) -> None:
        """Takes nothing new, lets jobs end for a while, gives the rest back at once."""
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            mine = dict(self._running)
            for running in mine.values():
                running.task.cancel()
            await asyncio.wait([running.task for running in mine.values()])
            await self._let_go([running.claim for running in mine.values()])
            log.info("jobs given back", jobs=len(mine))
