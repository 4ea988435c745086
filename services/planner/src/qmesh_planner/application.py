"""Compiles and stores plans; the same question gets the same plan without work."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from qmesh.planner.v1 import plan_pb2 as pb
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_kit.errors import ServiceError
from qmesh_planner.ports import Compiler, PlanStore, Snapshots


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan's bytes, with the snapshot that they were made from."""

    plan: bytes
    snapshot: registry.Snapshot


class PlannerService:
    """The service's use cases."""

    def __init__(self, store: PlanStore, snapshots: Snapshots, compiler: Compiler, cached_plans: int) -> None:
        """Takes its ports."""
        self._store = store
        self._snapshots = snapshots
        self._compiler = compiler
        self._most = cached_plans
        self._cache: OrderedDict[bytes, Compiled] = OrderedDict()
        self._running: dict[bytes, asyncio.Lock] = {}

    async def compile(self, request: planner.CompileRequest) -> Compiled:
        """Makes a plan, and stores it unless it is a what-if.

        Raises:
            MeshError, ServiceError: typed refusal.
        """
        what_if = request.HasField("topology")
        if what_if:
            snapshot = request.topology
        elif request.snapshot_id:
            snapshot = await self._snapshots.load(request.snapshot_id)
        else:
            snapshot = await self._snapshots.newest()
        key = _key(request, snapshot)
        lock = self._running.setdefault(key, asyncio.Lock())
        async with lock:  # the same question at the same time is answered once
            found = self._cache.get(key)
            if found is None:
                found = await self._make(request, snapshot, store=not what_if)
                self._cache[key] = found
                while len(self._cache) > self._most:
                    self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(key)
        if not lock.locked():
            self._running.pop(key, None)
        return found

    async def _make(
        self, request: planner.CompileRequest, snapshot: registry.Snapshot, *, store: bool
    ) -> Compiled:
        full = planner.CompileRequest()
        full.CopyFrom(request)
        full.topology.CopyFrom(snapshot)
        plan = await self._compiler.compile(full)
        if store:
            plan_id = pb.Plan.FromString(plan).plan_id
            await self._pin(snapshot.snapshot_id)
            await self._store.save(request.caller.tenant_id, plan_id, snapshot.snapshot_id, plan)
        return Compiled(plan, snapshot)

    async def _pin(self, snapshot_id: str) -> None:
        """Stores what a plan cites; a registry that has restarted may know only newer ones."""
        try:
            await self._snapshots.pin(snapshot_id)
        except ServiceError as error:
            if error.code != "NOT_FOUND":
                raise
            raise ServiceError(
                "UNAVAILABLE",
                "the registry has forgotten the snapshot, and a newer one is awaited",
                status="UNAVAILABLE",
                retry_after=0.5,
            ) from None

    async def get(self, tenant_id: str, plan_id: str) -> bytes:
        """A stored plan.

        Raises:
            ServiceError: NOT_FOUND, also for another tenant's plan.
        """
        found = await self._store.load(tenant_id, plan_id)
        if found is None:
            raise ServiceError("NOT_FOUND", f"there is no plan {plan_id}")
        return found


def _key(request: planner.CompileRequest, snapshot: registry.Snapshot) -> bytes:
    """Digest of everything that the plan depends on."""
    asked = planner.CompileRequest()
    asked.CopyFrom(request)
    for name in ("job_id", "topology", "snapshot_id"):
        asked.ClearField(name)
    tenant = request.caller.tenant_id
    asked.caller.Clear()
    asked.caller.tenant_id = tenant
    digest = hashlib.sha256(asked.SerializeToString(deterministic=True))
    digest.update(snapshot.snapshot_id.encode() or snapshot.SerializeToString(deterministic=True))
    return digest.digest()
