"""Reservations of one job: the plan's demands at once, fallback nodes when they are needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.planner.v1 import plan_pb2 as planning
from qmesh.reservation.v1 import reservation_pb2 as reservation
from qmesh_kit.errors import ServiceError
from qmesh_model.errors import MeshError
from qmesh_runtime.application.patience import AWAY, patiently
from qmesh_runtime.domain.claim import Claim
from qmesh_runtime.domain.policy import RetryPolicy
from qmesh_runtime.ports import Compiled, Reservations

log = structlog.get_logger()

_FALLBACK_WAIT_MS = 500
_TTL = 30.0
"""Seconds that a reservation lives without its job: what a dead runtime held is free after so long at most."""
_TIDY_SECONDS = 10.0


class JobReservations:
    """Tokens by node; satisfies the execution's `Tokens` port."""

    def __init__(self, service: Reservations, claim: Claim, min_fidelity: float) -> None:
        """Starts without any reservation."""
        self._service = service
        self._claim = claim
        self._min_fidelity = min_fidelity
        self._compiled: Compiled | None = None
        self._tokens: dict[str, bytes] = {}
        self._services: dict[str, set[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._policy = RetryPolicy()
        self._extended = time.monotonic()
        self._may_hold = claim.fence > 1
        self.ids: dict[str, str] = {}

    async def take(self, compiled: Compiled, wait_seconds: float) -> Sequence[reservation.Reservation]:
        """Reserves what the plan asks of its primary nodes, waiting for room in order of arrival."""
        self._compiled = compiled
        lines = [
            reservation.ReservationLine(
                node_id=demand.node_id,
                service_types=demand.service_types,
                min_fidelity=self._min_fidelity,
                data_qubits=demand.data_qubits,
                state_bytes=demand.state_bytes,
                executions=demand.executions,
                fragment_ids=demand.fragment_ids,
            )
            for demand in compiled.plan.demands
        ]
        until = time.time() + wait_seconds
        while True:
            try:
                return await self._reserve(lines, max(0.001, until - time.time()))
            except ServiceError as error:
                if error.code not in AWAY or time.time() >= until:
                    raise
                log.info("reserving again", job_id=self._claim.job_id, code=error.code)
            # whether the call that was lost took effect is unknown: give back what it may have taken
            await self._patiently(
                lambda: self._service.cancel(self._claim.tenant_id, self._claim.job_id, "asked again"), until
            )

    async def _patiently[T](self, call: Callable[[], Awaitable[T]], until: float) -> T:
        return await patiently(call, "reservation", until, self._policy)

    async def keep(self) -> None:
        """Extends what is held, when a third of its time has passed; failures are tried again later."""
        if not self._tokens or time.monotonic() - self._extended < _TTL / 3:
            return
        self._extended = time.monotonic()
        try:
            live = await self._service.extend(
                self._claim.tenant_id, self._claim.job_id, self._claim.fence, self._ttl_ms()
            )
        except ServiceError as error:
            log.warning("reservations not extended", job_id=self._claim.job_id, code=error.code)
            return
        self._keep(live)

    async def take_over(self, compiled: Compiled) -> bool:
        """Reads live reservations of an earlier owner back; False unless they cover the plan."""
        self._compiled = compiled
        live = await self._patiently(
            lambda: self._service.extend(
                self._claim.tenant_id, self._claim.job_id, self._claim.fence, self._ttl_ms()
            ),
            self._claim.deadline,
        )
        self._keep(live)
        return {demand.node_id for demand in compiled.plan.demands} <= set(self._tokens)

    async def give_back(self, reason: str) -> None:
        """Cancels everything that is held: also what an earlier owner left, or a call that got no answer took."""
        if self._may_hold:
            await self._service.cancel(self._claim.tenant_id, self._claim.job_id, reason)
        self._may_hold = False
        self._tokens.clear()
        self._services.clear()

    async def mark_executed(self) -> None:
        """Marks everything as used."""
        if self._tokens:
            await self._patiently(
                lambda: self._service.mark_executed(
                    self._claim.tenant_id, self._claim.job_id, self._claim.fence
                ),
                time.time() + _TIDY_SECONDS,
            )

    async def token(self, node_id: str, block: planning.Block) -> bytes:
        """Token for a node; a fallback node is reserved now."""
        wanted = self._service_types(block)
        async with self._locks.setdefault(node_id, asyncio.Lock()):
            if not wanted <= self._services.get(node_id, set()):
                line = reservation.ReservationLine(
                    node_id=node_id,
                    service_types=sorted(wanted | self._services.get(node_id, set())),
                    min_fidelity=self._min_fidelity,
                    data_qubits=len({wire for step in block.operations for wire in step.wires}),
                    state_bytes=block.state_bytes,
                    executions=len(self._require().plan.blocks),
                    fragment_ids=[self._require().plan.fragments[n].fragment_id for n in block.fragments],
                )
                await self._patiently(
                    lambda: self._reserve([line], _FALLBACK_WAIT_MS / 1000), self._claim.deadline
                )
        return self._tokens[node_id]

    def _service_types(self, block: planning.Block) -> set[str]:
        plan = self._require().plan
        return {plan.fragments[number].service_type for number in block.fragments}

    def _require(self) -> Compiled:
        if self._compiled is None:
            raise MeshError("INTERNAL", "no plan to reserve for")
        return self._compiled

    def _ttl_ms(self) -> int:
        return max(1000, int(min(_TTL, self._claim.deadline - time.time() + 1.0) * 1000))

    async def _reserve(
        self, lines: list[reservation.ReservationLine], wait_seconds: float
    ) -> Sequence[reservation.Reservation]:
        nodes = self._require().nodes
        request = reservation.ReserveRequest(
            caller=caller.Caller(tenant_id=self._claim.tenant_id, principal="runtime"),
            job_id=self._claim.job_id,
            plan_id=self._require().plan.plan_id,
            fence=self._claim.fence,
            lines=lines,
            capacities=[
                reservation.NodeCapacity(
                    node_id=line.node_id,
                    data_qubits=nodes[line.node_id].capacity.data_qubits,
                    state_bytes=nodes[line.node_id].capacity.state_bytes,
                    epoch=nodes[line.node_id].epoch,
                )
                for line in lines
            ],
            ttl_ms=self._ttl_ms(),
            wait_ms=max(1, int(wait_seconds * 1000)),
        )
        self._may_hold = True
        made = await self._service.reserve(request)
        self._keep(made)
        return made

    def _keep(self, made: Sequence[reservation.Reservation]) -> None:
        for item in made:
            self._tokens[item.line.node_id] = item.token
            self._services.setdefault(item.line.node_id, set()).update(item.line.service_types)
            self.ids[item.line.node_id] = item.reservation_id
