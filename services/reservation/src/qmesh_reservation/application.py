"""Reserves in order of arrival, without ever over-committing a node."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque

from qmesh.reservation.v1 import reservation_pb2 as pb
from qmesh_kit.errors import ServiceError
from qmesh_reservation.domain.tokens import TokenSigner, fingerprint
from qmesh_reservation.ports import ReservationStore, Stored

_POLL = 0.05


class ReservationService:
    """The service's use cases."""

    def __init__(self, store: ReservationStore, signer: TokenSigner, longest_ttl: float) -> None:
        """Takes the store and the key of all replicas."""
        self._store = store
        self._signer = signer
        self._longest = longest_ttl
        self._waiting: deque[tuple[frozenset[str], asyncio.Event]] = deque()
        self._freed = asyncio.Event()

    async def reserve(self, request: pb.ReserveRequest) -> list[pb.Reservation]:
        """All lines or none; waits its turn behind earlier requests for the same nodes.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED, when a node has no room in time.
        """
        self._check(request)
        nodes = frozenset(line.node_id for line in request.lines)
        turn = asyncio.Event()
        entry = (nodes, turn)
        self._waiting.append(entry)
        self._advance()
        deadline = time.monotonic() + request.wait_ms / 1000
        full = ""
        try:
            while True:
                remaining = deadline - time.monotonic()
                await self._turn(turn, remaining, full)
                found = await self._store.reserve(request, [str(uuid.uuid4()) for _ in request.lines])
                if not isinstance(found, str):
                    return [self._signed(item) for item in found]
                full = found
                await self._room(min(_POLL, max(0.0, deadline - time.monotonic())))
                if time.monotonic() >= deadline:
                    raise self._exhausted(full)
        finally:
            self._waiting.remove(entry)
            self._advance()

    @staticmethod
    def _exhausted(node_id: str) -> ServiceError:
        where = f"node {node_id}" if node_id else "the nodes wanted"
        return ServiceError(
            "RESOURCE_EXHAUSTED", f"{where} had no room in time", status="RESOURCE_EXHAUSTED", retry_after=0.2
        )

    async def _turn(self, turn: asyncio.Event, seconds: float, full: str) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await turn.wait()
        except TimeoutError:
            raise self._exhausted(full) from None

    async def _room(self, seconds: float) -> None:
        """Waits until something was given back here; another replica's returns are seen by polling."""
        self._freed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._freed.wait()
        except TimeoutError:
            return

    def _advance(self) -> None:
        """It is the turn of every request that no earlier one blocks."""
        taken: set[str] = set()
        for nodes, turn in self._waiting:
            if not nodes & taken:
                turn.set()
            taken |= nodes

    def _check(self, request: pb.ReserveRequest) -> None:
        capacity = {item.node_id: item for item in request.capacities}
        if not request.lines or not request.ttl_ms or request.ttl_ms > self._longest * 1000:
            raise ServiceError(
                "INVALID_ARGUMENT", "a reservation needs lines and a time to live within bounds"
            )
        if len(capacity) != len(request.capacities):
            raise ServiceError("INVALID_ARGUMENT", "the capacity of a node is given twice")
        qubits: Counter[str] = Counter()
        state_bytes: Counter[str] = Counter()
        for line in request.lines:
            qubits[line.node_id] += line.data_qubits
            state_bytes[line.node_id] += line.state_bytes
        for node_id in qubits:
            known = capacity.get(node_id)
            if known is None:
                raise ServiceError("INVALID_ARGUMENT", f"the capacity of node {node_id} is not given")
            if qubits[node_id] > known.data_qubits:
                raise ServiceError(
                    "REJECTED",
                    f"node {node_id} has {known.data_qubits} data qubits, {qubits[node_id]} are wanted",
                )
            if state_bytes[node_id] > known.state_bytes:
                raise ServiceError(
                    "REJECTED",
                    f"node {node_id} has {known.state_bytes} bytes for states, {state_bytes[node_id]} are wanted",
                )

    async def end(
        self, tenant_id: str, job_id: str, ids: list[str], state: str, reason: str = ""
    ) -> list[pb.Reservation]:
        """Marks as used or gives back."""
        if not job_id and not ids:
            raise ServiceError("INVALID_ARGUMENT", "name a job or reservations")
        ended = await self._store.end(tenant_id, job_id, ids, state, reason)
        self._freed.set()
        return [item.reservation for item in ended]

    async def extend(self, tenant_id: str, job_id: str, fence: int, ttl_ms: int) -> list[pb.Reservation]:
        """Extends live reservations, with tokens of the new claim."""
        found = await self._store.extend(tenant_id, job_id, fence, ttl_ms)
        return [self._signed(item) for item in found]

    async def get(self, tenant_id: str, reservation_id: str) -> pb.Reservation:
        """One reservation with its history."""
        found = await self._store.get(tenant_id, reservation_id)
        if found is None:
            raise ServiceError("NOT_FOUND", f"there is no reservation {reservation_id}")
        if found.reservation.state == pb.RESERVATION_STATE_COMMITTED:
            return self._signed(found)
        return found.reservation

    async def live(
        self, tenant_id: str, job_id: str, node_id: str
    ) -> tuple[list[pb.Reservation], list[pb.NodeUsage]]:
        """Live reservations, and what nodes have left."""
        found = await self._store.live(tenant_id, job_id, node_id)
        return [item.reservation for item in found], await self._store.usage()

    async def sweep(self) -> None:
        """Ends what is past its time."""
        if await self._store.expire():
            self._freed.set()

    def public_keys(self) -> list[bytes]:
        """Keys with which tokens can be checked."""
        return [self._signer.public_key]

    def _signed(self, item: Stored) -> pb.Reservation:
        reservation = item.reservation
        line = reservation.line
        reservation.token = self._signer.sign(
            pb.TokenClaims(
                reservation_id=reservation.reservation_id,
                job_id=reservation.job_id,
                node_id=line.node_id,
                fence=reservation.fence,
                data_qubits=line.data_qubits,
                state_bytes=line.state_bytes,
                executions=line.executions,
                service_types=line.service_types,
                expires_at=item.expires_at,
                tenant_id=item.tenant_id,
            )
        )
        reservation.token_fingerprint = fingerprint(reservation.token)
        return reservation
