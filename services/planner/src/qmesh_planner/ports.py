"""What the planner needs from outside."""

from __future__ import annotations

from typing import Protocol

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry


class PlanStore(Protocol):
    """Plans for good; they never change."""

    async def save(self, tenant_id: str, plan_id: str, snapshot_id: str, plan: bytes) -> None:
        """Stores a plan, once."""
        ...

    async def load(self, tenant_id: str, plan_id: str) -> bytes | None:
        """A tenant's plan."""
        ...


class Snapshots(Protocol):
    """The registry's snapshots."""

    async def newest(self) -> registry.Snapshot:
        """The newest that is known here.

        Raises:
            ServiceError: UNAVAILABLE, when none was ever seen.
        """
        ...

    async def load(self, snapshot_id: str) -> registry.Snapshot:
        """A stored one."""
        ...

    async def pin(self, snapshot_id: str) -> None:
        """Stores one for good, before a plan cites it."""
        ...


class Compiler(Protocol):
    """Turns a request with its topology into a serialised plan."""

    async def compile(self, request: planner.CompileRequest) -> bytes:
        """The plan's bytes.

        Raises:
            MeshError, ServiceError: there is no plan.
        """
        ...
