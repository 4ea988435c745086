"""PlannerService over gRPC."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from qmesh.planner.v1 import planner_pb2 as pb
from qmesh.planner.v1 import planner_pb2_grpc as stubs
from qmesh_kit.errors import ServiceError
from qmesh_planner.application import PlannerService

_PIECE = 1 << 20


class PlannerServicer(stubs.PlannerServiceServicer):
    """Translates messages; decides nothing."""

    def __init__(self, service: PlannerService) -> None:
        """Takes the use cases."""
        self._service = service

    async def Compile(self, request: pb.CompileRequest, context: Any) -> AsyncIterator[pb.CompileResponse]:  # noqa: N802
        """Makes and stores a plan."""
        made = await self._service.compile(request)
        first = True
        for piece in _pieces(made.plan):
            yield pb.CompileResponse(
                plan=piece,
                nodes=made.snapshot.nodes if first else (),
                links=made.snapshot.links if first else (),
            )
            first = False

    async def GetPlan(self, request: pb.GetPlanRequest, context: Any) -> AsyncIterator[pb.GetPlanResponse]:  # noqa: N802
        """Reads a stored plan."""
        try:
            plan_id = str(uuid.UUID(request.plan_id))
        except ValueError:
            raise ServiceError("NOT_FOUND", "a plan's id is a UUID") from None
        for piece in _pieces(await self._service.get(request.caller.tenant_id, plan_id)):
            yield pb.GetPlanResponse(plan=piece)


def _pieces(plan: bytes) -> list[bytes]:
    return [plan[at : at + _PIECE] for at in range(0, len(plan), _PIECE)]
