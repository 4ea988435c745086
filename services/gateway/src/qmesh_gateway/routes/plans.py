"""GET /plans/{id}."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh_gateway.answers import JsonResponse
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
    headers = {"etag": tag, "cache-control": "private, max-age=31536000, immutable"}
    held = {item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")}
    if held & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return JsonResponse(documents.plan(plan), headers=headers)
