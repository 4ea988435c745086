"""GET /plans/{id}."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import ORJSONResponse, Response

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh_gateway.domain import documents
from qmesh_gateway.routes.jobs import known_id
from qmesh_gateway.state import caller_of, state_of

router = APIRouter(prefix="/plans", tags=["plans"])


@router.get("/{plan_id}", operation_id="getPlan")
async def get_plan(
    request: Request, plan_id: str, who: Annotated[caller.Caller, Depends(caller_of)]
) -> Response:
    """A plan with explained candidates; immutable, so its id is its ETag."""
    known = known_id(plan_id, "plan")
    tag = f'"{known}"'
    plan = await state_of(request).clients.plan(planner.GetPlanRequest(caller=who, plan_id=known))
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    headers = {"etag": tag, "cache-control": "private, immutable"}
    return ORJSONResponse(documents.plan(plan), headers=headers)
